# Makes constraints of requirements.lock: pip takes no hashes and no extras in a file of constraints.
/^ *--hash=/d
/^ *#/d
s/ *\\$//
s/^\([A-Za-z0-9._-]*\)\[[^]]*\]/\1/
