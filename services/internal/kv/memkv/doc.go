// Package memkv is a kv.Store in memory, for tests and for `--store mem`. It keeps its whole history until told to compact
// it, so that tests can make a watch fall behind on purpose, and can be told to fail. Nothing survives the process.
package memkv
