"""The command line: one file per group of commands, which do nothing but parse, call and print."""
