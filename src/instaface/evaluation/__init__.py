"""How good an edit is, in numbers and at a glance (extra ``instaface[eval]``)."""
