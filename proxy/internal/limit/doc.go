// Package limit bounds load. Budget bounds what retries add to it: a share of the requests made, plus a small steady
// allowance, so that a service in trouble gets a little more load at most, never a multiple.
//
// It must never block: what is over the limit is refused at once.
package limit
