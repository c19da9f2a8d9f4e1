// Package logging makes the one logger of a process: JSON on stderr for programs, aligned text for people at a terminal, with
// the keys ts, level, logger and msg. Everybody else gets a *zap.Logger handed in, named after the part.
//
// Levels: debug = common operations; info = rare and wanted; warn = may heal by itself; error = someone must act. Messages are
// constant and lower case; facts go into fields with snake_case keys. Keys, tokens, private parts of SVIDs and header values
// are never logged.
package logging
