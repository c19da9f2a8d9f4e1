// Package balance is the stage that chooses one endpoint for one request (or one TCP connection). In come a set of
// endpoints, the method, the port that was called and the endpoints that already failed this request; out comes a choice
// that is told the outcome, from which the next choices learn.
//
// Preference comes before method: endpoints whose lease is current before unknown ones, such that take connections before
// ejected ones (unless nearly all are ejected: then none is spared, because the fault is likely not theirs), and those that
// already failed this request last of all. Among equals the method decides. It must never dial, and it never fails a
// request as long as the set has an endpoint for the port.
package balance
