// Package dnspass keeps the host's own resolver in reach of a program that has a network namespace to itself. Where the host names a
// resolver on a loopback address (as systemd-resolved does), that address means nothing in another namespace; there the
// same address is served by passing each question on as it is. Nothing is read, kept or changed: names stay the platform's.
package dnspass
