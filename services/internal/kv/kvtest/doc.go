// Package kvtest is the suite that every kv.Store passes. It says in code what package kv says in words: guarded writes,
// lists at one revision, watches that resume without loss and never split a revision, keys that die with their holder.
package kvtest
