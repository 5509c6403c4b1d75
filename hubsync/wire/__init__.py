"""Pure codecs of other people's formats: no I/O, no clock."""
