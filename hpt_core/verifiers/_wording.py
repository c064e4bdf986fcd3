"""Words of sentences that name an option of a multiple-choice question. `_statements` puts them together.

The patterns read text that `_plain.prose` has normalized: single spaces, straight quotation marks, " - " for dashes.
"""

import re


def _any(phrases: str) -> str:
    """A pattern of any of the `phrases`, which are separated by "|", in any case."""
    return f"(?i:{phrases})"


# Labels, and what may follow them.
_LETTER, _DIGIT = "[A-J]", "(?:10|[1-9])"
NOUN = _any(
    "option|choice|letter|answer choice|answer option|answer|alternative|statement|response|number|item|candidate"
)
_SHOWN = (
    rf"(?P<label>[(\[] ?[\"']?(?:[A-Ja-j]|{_DIGIT})[\"']? ?[)\]]|[\"'](?:[A-Ja-j]|{_DIGIT})[\"']|[A-Ja-j]|{_DIGIT})"
)
LABEL = re.compile(
    rf"\"?(?i:the )?(?P<noun>{NOUN} (?i:number |no\. ?)?)?{_SHOWN}(?![\w'^%=+]|-\w|[.,]\d|\.\w|/(?![A-J]\b))"
)
STOP = re.compile(r"[\"')\]]*(?: ?[,;:!?)\n.→/]| [-(]| ?$| (?:because|since|as|due|given)\b)")
MORE = re.compile(
    r" (?:for|which|that|and|but|or|not|rather|instead|with|according|from|in|on|by|after|when|where|while|so|therefore"
    r"|hence|thus|if|unless|only|here|above|based|considering|then|over|too|assuming|provided|it is)\b"
)
WEAK_MORE = re.compile(
    r" (?:then|not|rather|over|instead|based|and|or|but|if|unless|it is|it must|here|on this|for this|for these"
    r"|in this case|for sure|as the|the (?:correct|right|best|only|final|most))\b"
)
END = re.compile(
    r"(?: then)?[\"')\]]*(?:[.!]+[\"')]*(?: |$|(?=\n))| ?\n| ?$|,? (?:because|since|as|due to|given)\b|[):])"
)
LINE_END = re.compile(r"[\"')\].!]* ?(?:\n|$)")
TEXT_END = r"[\"']?[ \t]*(?:[.!;]+(?:\s|$)|\n|$)"
ALSO = re.compile(
    r"[\"')\].:]* ?\(?(?:,? ?(?:- )?\b(?:and|or|and/or|as well as|along with|plus)\b|[,/&]| -(?= [A-J](?:[.\n]|$))"
    r"|;(?= ?\(?[A-J]\)?\.?(?:\n|$)))(?: ?(?:or|and|maybe|perhaps|possibly|even|also|both|either"
    r"|then)\b)* ?(?:the )?(?:option |choice )?(?:[(\[](?:[A-J]|10|[1-9])[)\]]|\"?[A-Z]\"?(?![\w'-])|(?:10"
    r"|[1-9])(?=\.?(?: ?\n| ?$)))(?=[\"')]* ?(?:[.,;:)\n&/]|$|or\b|and\b|are\b|both\b|too\b|as well\b))"
    r"|[\"')\].:]*,? (?:and|or|but) (?:it |also |possibly |maybe |perhaps )*(?:could|might|may|can) (?:also )?be\b"
    r"|[):] [^\n.]*[,;] ?(?:and |or )?[A-J][):] "
)
"""Another label given together with the first, in the text after the first: "A or B", "(A), (C)"."""
LISTED = re.compile(rf"\(?({_LETTER}|{_DIGIT})[)\].:][^\n]*\n[-*]? ?\(?({_LETTER}|{_DIGIT})[)\].:]", re.IGNORECASE)
"""Two options on consecutive lines."""
ITEM = re.compile(rf"[^\w(\"\n]{{0,16}}(?:{NOUN} )?(?P<label>[(\[]?(?:{_LETTER}|{_DIGIT})[)\]]?)[).:!\"]*")
"""A line that is a label."""
HEAD = re.compile(rf"(?<!\w)(?P<label>{_LETTER}|{_DIGIT})(?P<end>[)\].:]*)(?:(?<=[)\].:]) |, | - | ?\(|: ?)\"?")
"""A label before the text of its option."""

# Sentences and clauses.
BOUNDARY = re.compile(r"[.!?]+[\"')\]]*(?: |(?=\n)|$)|[;\n]")
BREAK = re.compile(r"[,;:(→\"] ?| - |\b(?:so|therefore|thus|hence|but|then|however|instead) ", re.IGNORECASE)
"""Where a clause begins within a sentence."""
_MARKS = _any(
    "no|nope|wait|hmm+|oops|sorry|hold on|hang on|actually|but|however|oh|on second thoughts?|on reflection|correction"
)
MARK = re.compile(rf"[^\w\n]{{0,16}}{_MARKS}\b")
MARKS = re.compile(rf"[^\w\n]{{0,16}}(?:{_MARKS}\W+)+")
"""The beginning of a sentence that corrects what was said before."""

# "The answer", what joins it with an option, and the text between.
_ADVERB = _any(
    "therefore|thus|hence|then|so|clearly|certainly|definitely|obviously|undoubtedly|surely|indeed|simply|just"
    "|actually|really|likely|probably|presumably|evidently|apparently|still|now|only|exactly|precisely|in fact"
    "|of course|in this case|most likely|most probably|most certainly|most definitely|very likely|almost certainly"
    "|ultimately|without a doubt|without doubt|without any doubt|by elimination|best|given by|represented by"
    "|none other than|to be|overall|in my opinion|in my view|I think|I believe|I'd say"
)
_ADVERBS = rf"(?:,? {_ADVERB}\b,?)*"
_MODAL = _any(
    "would|must|should|will|has to|have to|ought to|got to|gotta|'s gotta|'s got to|can only|could only|needs to|'d|'ll"
)
_SEEMS = _any(
    "turns out|appears|seems|comes out|works out|going|found|determined|sure|bound|certain|would seem|would appear"
    "|happens"
)
_BE = (
    rf"(?:(?:\b|(?=')){_MODAL}{_ADVERBS} (?i:be)\b|(?:(?:\b(?i:is)|'s){_ADVERBS} )?\b{_SEEMS} (?i:to be)\b"
    r"|\b(?i:(?:comes|works|turns) out as)\b|'s\b|\b(?i:is|remains|becomes|goes to)\b)"
)
_NOT = _any("n't|'t| not|not| never| no longer")
_BE_NOT = rf"(?:\b(?i:is|would|must|should|will|can|could|need|does|wo){_NOT}(?i: be)?\b|'s (?i:not|never|no longer)\b)"
LINK = re.compile(
    rf"(?:(?P<no>{_BE_NOT})|{_BE}|(?P<sign>[\"\])]? ?[:=→]| ?-(?= ))|(?P<asked>\?(?= )))"
    rf"(?P<more>{_ADVERBS}(?:[ :=→\n]|-(?!\d))*)"
)
"""What joins "the answer" and the option: "is", "would therefore be", ":", "→", and as `no` "is not"."""
ANSWER = re.compile(
    r"(?:\"|\b)(?i:answers?|ans)\b\"?\.?(?i: choice| option| letter| key)?(?: ?\((?![A-Ja-j1-9]\))[^()\n]{1,20}\))?"
)
_RIGHT = _any(
    r"correct|right|best|final|most \w+|chosen|selected|proper|appropriate|accurate|true|only|valid|likely|suitable"
    r"|logical|reasonable|better|closest|strongest|simplest|safest|clearest|nearest|remaining|preferred|matching|single"
    r"|one|actual|ultimate"
)
_CHOSEN = _any(
    "option|choice|response|selection|pick|letter|alternative|statement|solution|conclusion|one|candidate|match"
    "|description|explanation|guess|bet|vote|verdict|decision|claim|pair|sequence|order|fit|winner|inclination|hunch"
)
CHOICE = re.compile(
    rf"\b(?:(?i:my|our)(?: {_RIGHT},?)*|{_RIGHT}(?:,? (?:and )?{_RIGHT})*) {_CHOSEN}\b(?: (?i:choice|option|letter))?"
    r"|\b(?i:the (?:choice|verdict|conclusion|selection|pick|decision|winner))\b|\b(?i:the (?:best|closest))(?= (?:is"
    r"|would be)\b)|\b(?i:mine)\b"
    rf"|\b{_CHOSEN} (?i:that )?(?i:I|we)(?i:'d| would|'ll| will)? (?i:choose|select|pick|go with|arrive at|settle on)\b"
    rf"|\b{_CHOSEN} (?i:that|which)(?i: best| most closely| correctly)? (?i:is true|is correct|is right|fits"
    rf"|matches|answers"
    r"|satisfies|works|describes|explains|applies)\b(?i: best)?"
)
"""A noun that means the answer by its adjective, its owner or what it does: "the best option", "my pick"."""
EXCEPTION = re.compile(
    rf"\b(?i:incorrect|wrong|false|untrue|inaccurate|invalid|odd) {_CHOSEN}\b(?i: out)?|\b(?i:exception)\b"
    rf"|\b{_CHOSEN} (?i:that|which) (?i:is|are|does|do|can)(?:n't| not)\b[^.,;\n]{{1,60}}?(?= (?:is|would|must|has)\b)"
)
"""The answer to a question for what is not so."""
HEADING = re.compile(
    r"[^\w(\"\n]{0,16}(?i:choice|option|selection|pick|conclusion|verdict|decision|solution|result|response|letter"
    r"|correct|final|therefore|best)(?= ?[:→]| - )"
)
"""A word that means the answer before a colon at the beginning of a sentence."""
NEXT_LINE = re.compile(r"\n(?=[(\"\[]?[A-J1-9])")
NOT_ANSWER = re.compile(
    r"\b(?:wrong|incorrect|false|bad|worst|least \w+|weakest|other|another|different|alternative|second|previous"
    r"|earlier|original|initial|old|former|naive|tempting|popular|common|(?<!only )possible|potential|plausible"
    r"|candidate|trick|trap|distractor|his|her|their|your|nor|no|any|an|one|student|eliminated|rejected|suggested"
    r"|expected|(?!(?:here|that|it|there|what|this|let)'s)\w+'s|\w+s')(?: (?!the\b|my\b|our\b)\w+){0,2} $",
    re.IGNORECASE,
)
"""Text directly before "answer" that says it is not the response's own: "the wrong", "Tom's final"."""
GAP = re.compile(
    r" ?(?:is )?|, [\w ']{2,40},? ?|,? (?i:here|left|remaining|now|available),? ?|,? ?\b(?i:to|for|of|in|from|that"
    r"|which|who|I|we|among|given(?! by)|based|according to|after|with|under|at|on|out|as)\b[^.;\n]*"
)
"""Text between "the answer" and its verb: "The answer to the question is"."""
GAP_OTHER = re.compile(
    r"\b(?:not|never|no|neither|wrong|incorrect|if|unless|chose|gave|picks|picked|wrote|says?|said|claims?|thinks?"
    r"|believes?|suggest\w*|proposed|wants|you|he|she|they|people|students?|but|because|since|whether|or)\b|n't",
    re.IGNORECASE,
)
"""Words in that text after which the sentence does not give the answer."""
BOTH = re.compile(r" ?(?:either|both|one of|any of|between|among|a tie between)\b", re.IGNORECASE)
NOT_BUT = re.compile(
    rf" ?(?i:not )?(?:{NOUN} )?[(\[]?(?:{_LETTER}|{_DIGIT})[)\]]?,? (?i:but)(?i: rather| instead| it's"
    rf"| it is)? (?=[(\[]?[A-J1-9]|{NOUN} )"
)
"""A label that is only the first half of "not A but B"."""
TEXT_LABEL = re.compile(
    rf"(?P<text>(?:[^\n.()]|\.(?=\d)){{1,150}}?)(?: \((?:{NOUN} )?|(?:,| -| →) ?(?:which is |that is |namely |or )?"
    rf"(?:the )?{NOUN} \(?)(?P<label>{_LETTER}|{_DIGIT})\)*(?=[\"')]*(?:[.!]+(?: |$|\n)|\n| ?$|,? (?:because|since"
    rf"|as)\b))"
)
"""An option's text and its label: "fire (B)"."""
PAIRED = re.compile(
    rf"(?:,? ?(?i:i\.e\.,?|which is|that is,?|or|namely)| ?[-→,])? ?\(?(?:{NOUN} )?\(?(?P<label>{_LETTER}"
    rf"|{_DIGIT})\)*(?=[\"')]*"
    r"(?:[.!]+(?: |$|\n)| ?\n| ?$|,? (?:because|since|as)\b))"
)
"""The same where nothing says "the answer"."""

# "I choose", "it is", "B is correct", "which matches option B".
_AUXILIARY = _any(
    "'d|'ll|'m|'ve| would| will| am| are|(?<!would)(?<!'d)(?<!should) have| must| should| can| do| going to| gonna"
    "| inclined to| forced to| ready to| like to| want to| have to| need to| had to| happy to| confidently| safely"
    "| ahead| and| quite| very| pretty| fairly"
)
_PICK = _any(
    "choose|choosing|chose|chosen|select|selecting|selected|pick|picking|picked|opt for|opting for|opted for|vote for"
    "|voting for|settle on|settling on|settled on|go with|going with|went with|gone with|go ahead with|go for"
    "|going for|lean towards?|leaning towards?|decide on|decided on|stick with|sticking with|stay with|mark|submit"
    "|lock in"
)
_OPINE = _any(
    "confident in|sure of|certain of|answer with|answer|take|guess|say|think|believe|conclude|bet on|bet|get"
    "|suspect|suppose|reckon|propose"
)
PICK = re.compile(
    rf"(?P<self>\b(?i:I|we|you should|one should|let's|let us|let me)(?P<no>(?i:'d| would| will| do| can| could| am"
    rf"|'m)?{_NOT})?(?:{_AUXILIARY}|,? {_ADVERB}\b,?){{0,5}} )?\b(?:(?P<pick>{_PICK})"
    rf"|(?P<opine>{_OPINE}(?i: that)?))(?: {_ADVERB})?[ :]+(?=[(\[\"'A-J1-9]|{NOUN} )"
)
"""A choice in the first person, or as a command: "I'd go with", "Select"."""
AS_OTHER = re.compile(r" as (?:the|a|an|our) (?!(?:final |correct |best |right )*(?:answer|option|choice))")
_COPULA = rf"(?:(?P<no>{_BE_NOT})|{_BE}){_ADVERBS}"
PRONOUN = re.compile(rf"\b(?i:it|that|this)(?: ?){_COPULA} ?|\b(?i:must|has to|gotta|got to) be ")
_IS_ANSWER = rf"(?i:the|my|our)(?: {_RIGHT},?(?: and)?)* (?:{NOUN}|{_CHOSEN})\b"
_WRONG = _any(
    r" (?:is|was|must be|can be|seems|looks)(?: \w+)? (?:wrong|incorrect|false|out|ruled out|eliminated|invalid"
    r"|impossible|excluded)\b"
)
_ANSWER_NOT = _any(
    r"(?: (?:is|can)(?:n't|'t| not|not)|'s not) (?:be )?(?:the |my |our )?(?:correct |right |best |final )*(?:answer"
    r"|option|choice|it)\b| is (?:the|a|an) (?:wrong|incorrect) (?:answer|option|choice)\b"
)
_ONLY = _any(
    r" it is\b| fits best\b| works best\b| wins\b| best (?:fits|describes|matches|explains|answers|represents|captures"
    r"|completes|reflects|summarizes|supports|illustrates)\b| makes (?:the )?most sense\b"
    r"| is the only (?:one|option|choice|answer)\b[^.,;\n]*"
)
SUBJECT = re.compile(
    rf"(?<![\w'])(?P<alone>(?i:only) )?(?i:the )?(?P<noun>{NOUN} )?(?P<label>\((?:[A-Ja-j]|{_DIGIT})\)|\"?[A-J]\"?"
    rf"|{_DIGIT})(?: (?i:here|alone))?(?:(?P<wrong>{_WRONG}|(?P<answer_not>{_ANSWER_NOT})| (?:is|are)(?i:n't"
    rf"| not) (?i:correct|right)\b)|(?P<also> (?i:is also|could also be|may also be|might also be)\b"
    rf"| (?i:is (?:correct|right|true) (?:too|also|as well)\b))|(?P<answer> ?{_BE}{_ADVERBS} {_IS_ANSWER})"
    rf"|(?P<only>{_ONLY})| ?{_BE}{_ADVERBS} (?i:the )?(?i:correct|right|best|true|most \w+|better)\b| (?i:seems"
    rf"|appears|looks|sounds){_ADVERBS} (?i:correct|right|best)\b|(?(alone) (?i:remains|fits|works|satisfies|holds"
    rf"|matches|is (?:left|true|consistent|possible|valid))\b|(?!)))"
)
"""An option and what is said of it."""
ENUMERATED = re.compile(r"(?:\b(?i:or|nor|both|either)|\b[A-J][)\]]?,) (?:and |or )?(?:the )?$")
"""Text before an option that belongs to a list of them."""
NOT_ONLY = re.compile(
    r",? ?(?:but|though|although|however|yet|only|also|too|as well|in that|in saying|in stating|about|for|of (?!the "
    r"|these |all )|and so is|if|when|than)\b"
)
"""Text after "B is correct" that takes it back in part."""
MATCHES = re.compile(
    rf"\b(?:(?i:corresponds|matches|aligns|agrees|equals|points)|(?i:which|these) (?i:correspond|match|agree)"
    rf"|(?i:which|this|that|it|result|value|answer|solution|conclusion)(?: (?i:is)|'s))(?: {_ADVERB}"
    rf"| (?i:directly|exactly|closely|perfectly))?(?i: to| with)? (?={NOUN} )"
    r"|\b(?i:everything|this|that|evidence|analysis|elimination|text|passage|data) (?i:points to|supports?|favou?rs?) "
    r"|\b(?i:i\.e\.|namely|that is|in other words),? (?=(?i:option|choice|answer) )|\b(?i:making|makes|leaving"
    r"|leaves|left with|left is)(?i: us| me| it)?(?i: with)?(?i: only| just)? "
)
"""What says that a result belongs to an option, or that only one is left."""

# Whole sentences.
_OPINION = _any(
    "wager|think|believe|say|guess|bet|reckon|feel|conclude|suspect|suppose|find|get|deduce|infer|argue|maintain"
)
_LEADS = _any(
    r"so|thus|therefore|hence|then|consequently|accordingly|finally|ultimately|overall|in conclusion|in summary"
    r"|in short|in the end|in fact|in total|in my opinion|in my view|in my judge?ment|to conclude|to sum up"
    r"|all in all|as a result|for this reason|for that reason|for these reasons|by elimination"
    r"|by process of elimination|by the process of elimination|through elimination|because of this|because of that"
    r"|given this|given that|given all this|given the above|based on this|based on that|based on the above|ok|okay"
    r"|well|yes|yep|yeah|imo|right|now|and|but|hmm+|ah|oh|aha|great|actually|really|rather|instead|clearly|certainly"
    r"|definitely|obviously|surely|indeed|most likely|most probably|likely|probably|almost certainly|honestly"
    r"|personally|frankly|undoubtedly|without a doubt|without doubt|all things considered|everything considered"
    r"|on balance|taken together|on reflection|conclusion|verdict|step \d+|looks like|seems like|it looks like"
    r"|it seems like|only|my answer|final answer"
)
_THAT = (
    r"(?:(?i:it (?:follows|seems|appears|is (?:clear|evident|obvious|certain))(?: to me)?|it's (?:clear|evident"
    r"|obvious|certain)|(?:this|that|which) (?:means|shows|implies|suggests|indicates|confirms|tells us|tells me"
    r"|proves)|(?:I|we)(?:'m| am| are)(?: \S+){0,2} (?:sure|confident|certain|convinced|positive)|(?:there is|there's"
    r"|I have|I've)? ?no doubt)|(?i:I|we)(?i:'d|'ll| would| do| can| will| must| still| also| now| therefore"
    r"| strongly| personally| safely"
    rf"| have to| am inclined to)* {_OPINION})(?i: that)?"
)
LEAD = re.compile(rf"[^\w(\"\n]{{0,16}}(?:(?:{_LEADS}|{_THAT})\b[ ,:.→-]*)*")
"""Words that introduce a conclusion or the response's own opinion."""
NO_LEAD = re.compile(r"\W*(?:(?:and|but|now|only|right|well|ok|okay|so then)\b\W*)*", re.IGNORECASE)
"""Words that alone introduce no conclusion: "And B." may go on with a list."""
NOT_THIS = re.compile(r"(?i:certainly |definitely |clearly )?(?i:not) ")
IT_IS = re.compile(
    r"(?: it is| it must be|,? (?i:I think|I believe|I guess|I'd say|I would say|definitely|certainly|clearly"
    r"|obviously|of course|for sure|no doubt|without a doubt|final answer|not [A-J]))(?=[\"')]* ?(?:[.!\n]|$))"
    r"|,? because\b"
)
"""What follows a label in a sentence of its own: "B it is", "B, I think"."""
TURN = re.compile(
    r"(?:(?:^|(?<=[,.;:(\n-])|(?<=[,.;:(\n-] ))(?i:no,|wait,|sorry,|oops,|correction|I mean|make that|scratch that"
    r"|rather|actually|really|instead|(?:and )?(?:so|but|therefore|thus|hence)\b)"
    r"|\b(?i:or rather))[,: →-]*(?:\b(?i:no|wait|I mean|it's|it is|it should be|make that)"
    r"\b[,: -]*){0,4}"
)
"""Words before a label that is a clause of its own: "no, B", "so B"."""
UNDONE = re.compile(
    rf"[^\w\n]{{0,16}}(?P<mark>(?:{_MARKS}\b\W*)+?)?(?:(?P<mild>(?:that|this|it|which|my (?:answer|choice))(?:'s"
    rf"| is| was| seems)"
    r"(?: \w+)? (?:wrong|incorrect|mistaken|false|a mistake|an error|not (?:right|correct|true|it))\b|(?:that|this"
    r"|it) (?:isn't|wasn't|can't be|cannot be|is not|can not be) (?:right|correct|true|it)\b|I (?:don't"
    r"|do not) think (?:that|this|it)(?:'s| is) (?:right|correct|it)\b|(?:no|nope)\W*$|(?:that|this"
    r"|it) (?:contradicts|conflicts|doesn't (?:fit|work|match|make sense))\b)|never ?mind\b|forget (?:that|it)\b"
    r"|I(?:'ve| have)? made (?:a|an|some) (?:mistake|error)|I (?:was|am) (?:wrong|mistaken)\b|scratch that\b"
    r"|I (?:take|took) (?:that|it) back\b|I retract\b|disregard\b|ignore (?:that|the above|my)\b|let me (?:reconsider"
    r"|rethink|redo|re-?evaluate|start over|try again|correct)\b|I(?:'ve| have)? changed my mind\b"
    r"|none of (?:the|these) [a-z ]*(?:is|are) (?:correct|right)\b|there is no (?:correct|right) (?:answer|option)\b)",
    re.IGNORECASE,
)
"""A sentence that takes an answer back. As `mild` it does so only next to the answer, or after a `mark`."""
OR_ELSE = re.compile(
    rf"[^\w\n]{{0,16}}(?:{_MARKS}\W+)*(?:(?i:then again|alternatively)\W+)?(?i:(?:or|maybe|perhaps|possibly"
    rf"|alternatively|it could|it might|it may|could|might|so is|so are|as is|so does)\b,? ?"
    rf"|(?<=alternatively, ))(?i:(?:or|maybe|perhaps|possibly|also|even|be|then"
    rf"|again)\b,? ?)*(?:{NOUN} )?[(\[]?{_LETTER}[)\]]?(?=[\"')]* ?(?:[.,;!\n?]|$))"
)
"""A sentence that adds an option to the answer before it: "Or maybe C."."""
