// Package rpctest asks a service, over real mTLS, which of its methods a caller may call. Tests of services use it to prove
// their table of rules; it must never be linked into a program.
package rpctest
