"""Other graders, to hold ours against (hpt_core/evaluation/audit.py). Nothing is rewarded or scored by them."""
