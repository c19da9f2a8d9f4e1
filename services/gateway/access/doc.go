// Package access decides who may do what at the gateway: which role a method needs, where, and whether a caller has it.
//
// It must never guess: a method without a rule is refused to everybody, and so is a request whose objects cannot be told.
package access
