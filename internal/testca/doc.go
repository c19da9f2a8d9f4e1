// Package testca is a certificate authority for tests: it makes the SVIDs of a trust domain, good ones and the many kinds of
// bad ones, in memory and at once. It is only for tests; no binary links it.
//
// Validity begins before the year 2000 unless an option says otherwise, so that an SVID is valid by the real clock and by the
// clock of a testing/synctest bubble alike.
package testca
