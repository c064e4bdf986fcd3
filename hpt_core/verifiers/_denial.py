"""Whether the text around a sentence that names an option negates, conditions, questions or only reports it."""

import re

_ROOM = 200
"""Characters before and after a sentence's claim that are searched."""
_CLAUSE = re.compile(
    r"(?:"
    # A negation of what is thought or follows.
    r"(?:\b(?:not|never|cannot|hardly|no longer)|n't)(?: \w+){0,2} (?:think|believe|say|mean|agree|claim|know|sure|true"
    r"|certain|clear|obvious|convinced|confident|the case|that|imply|follow|guarantee|conclude|argue|suggest|feel)\b"
    r"|\b(?:false|untrue|wrong|incorrect|unlikely|impossible|improbable|hard|difficult|absurd|nonsense) (?:that|to)\b"
    r"|(?<!\bno )(?<!without )(?<!without a )(?<!without any )\bdoubt"
    r"|\b(?:unclear|unsure|uncertain|no (?:reason|evidence|way|proof|guarantee)|neither|nothing|none|disagree\w*"
    r"|deny|denies|dispute\w*|refute\w*|disprove\w*)\b"
    # A claim that is only considered.
    r"|\b(?:reject\w*|idea|claim|notion|possibility|hypothesis|suggestion|assumption|view|belief|chance|case|scenario"
    r"|impression) that\b"
    r"|\b(?:whether|supposing|assum\w+|imagin\w+|pretend\w*|than|as if|as though|perhaps|maybe|possibly)\b"
    r"|(?<!\bI )(?<!\bwe )\bsuppose\b"
    r"|\b(?:verify|verifying|check|checking|test|testing|prove|wonder|ask|see) (?:that|if|whether)\b"
    # What was said, or is said by others.
    r"|\b(?:thought|believed|said|claimed|argued|guessed|felt|supposed|insisted|replied|told|stated|declared|asserted"
    r"|reported|hoped?|wanted|expected|wish|wrote|answered|says|thinks|believes|claims|argues|guesses|insists|let's say"
    r"|let us say)\b"
    r")[^,;:.\n]*$",
    re.IGNORECASE,
)
"""A negation, a question or somebody else's opinion in the same clause, directly before the claim."""
_ATTITUDE = r"(?:think|believe|say|claim|argue|guess|reckon|feel|insist|maintain)\b"
_OPINION = re.compile(rf"\b{_ATTITUDE}[^,;:.\n]*$", re.IGNORECASE)
_OWN = re.compile(
    r"\b(?:(?:I|we)(?:'d|'ll|'m|'ve)?(?: (?:would|do|will|can|must|should|also|still|now|really|strongly|firmly"
    r"|personally|therefore|thus|have to|safely|confidently|honestly|am|inclined to))*"
    rf"|(?:safe|fair|inclined|me|us|reasonable|like|have) to) {_ATTITUDE}",
    re.IGNORECASE,
)
"""An opinion, and one of the response itself."""
_SENTENCE = re.compile(
    r"\b(?:at first|first (?:glance|thought|impression|instinct)|initially|naively|originally|previously|tempt(?:ed"
    r"|ing)"
    r"|misconception|common mistake|myth|fallacy|popular belief|common belief|reportedly|supposedly|allegedly|trap"
    r"|trick)\b"
    r"|\b(?:some|many|others|most|people|students|critics|he|she|they|everyone|someone|textbooks?)\b[^.]*\b(?:claim|say"
    r"|think|believe|argue|insist|choose|pick)s?\b|\b(?:according to|in the (?:opinion|view) of) (?:some|many"
    r"|others|most"
    r"|him|her|them|people|critics|students|one|a|my|[A-Z][a-z]+(?=,))"
    r"|^(?:the |a |my |\W)*(?:student|teacher|friend|user|he|she|they|classmate|author|critic|skeptic|speaker)\b[^:]*:",
    re.IGNORECASE,
)
"""A first impression or somebody's opinion anywhere before the claim..."""
_IF = re.compile(
    r"(?:^\W*|[,;:(-] ?|\b(?:and|but|so|that|then|only) )(?:if|unless|only if|in case|when|whenever|provided"
    r"|assuming)\b(?! forced| my"
    r"|(?: I| we| you| one)(?:'m not| am not|'d| had| have| must| were| was| need| want)*(?: to| forced to)?"
    r" (?:choose|guess|pick|bet|answer|select|decide|go|look|consider|check|compute|calculate|analyze|examine|use"
    r"|apply|plug|substitute|solve|compare|read|count|follow|add|subtract|multiply|divide|recall|remember|mistaken)\b)"
    r"|^\W*(?:were|had|should) (?!I\b)",
    re.IGNORECASE,
)
"""...or a condition..."""
_TURN = re.compile(r"\b(?:so|therefore|thus|hence|consequently|but|however|actually|really)\b", re.IGNORECASE)
"""...that no such word separates from it."""
_CONCEDED = re.compile(r"^\W*(?:while|although|though|even though|even if|whereas|despite)\b[^,;:]*,", re.IGNORECASE)
_AFTER = re.compile(
    r"[\"')\]]*(?:,? ?(?:but |and )?(?:only |even |except )?(?:if|unless|provided|assuming|depending|in case"
    r"|as long as)"
    r"\b(?! (?:I'm|I am|I had|we had|I have|forced|my|I recall|I must))"
    r"|,? ?(?:- )?(?:but |and )?(?:which|that|this|it)? ?(?:is|'s|was|would be|isn't|seems)(?: \w+)? ?(?:wrong"
    r"|incorrect"
    r"|false|mistaken|a mistake|not (?:right|correct|true))\b"
    r"|,? I (?:thought|believed|assumed|guessed|said)\b|[^.]*\bbut no\W*$"
    r"|[):\]]*,? ?(?:- )?(?:no|wait)\b(?! (?:other|doubt|matter|question|need|one|option))"
    r"|[,.]\" ?(?:\w+ ){0,3}(?:says|said|claims|claimed|argues|argued|thinks|wrote|insists|insisted)\b"
    r"|[,.]?\"?,? ?(?:says|said|claims|claimed|argues|argued|thinks|thought|wrote|according to (?:some|many|others|him"
    r"|her|them|people|critics|[A-Z][a-z]+[.,])))",
    re.IGNORECASE,
)
"""A condition, a withdrawal or a speaker directly after the claim."""


def denied(before: str, after: str) -> bool:
    """Whether the claim between the sentence's text `before` and `after` is not the response's own assertion."""
    before, after = before[-_ROOM:], after[:_ROOM]
    if after.rstrip("\"') \n").endswith("?") or _AFTER.match(after):
        return True
    if before.count('"') % 2 and re.search(r"\w", before[: before.rindex('"')]):
        return True
    clause = _CONCEDED.sub("", before)
    for turn in _TURN.finditer(before):
        clause = before[turn.end() :]
    if _CLAUSE.search(clause) or (_OPINION.search(clause) and not _OWN.search(clause)):
        return True
    return bool(_SENTENCE.search(clause) or _IF.search(clause))
