// Package limit bounds load. Budget bounds what retries add to it: a share of the requests made, plus a small steady
// allowance, so that a service in trouble gets a little more load at most, never a multiple. Limits bound what one peer can
// cost, and a Guard counts who went over which of them and says so readably.
//
// It must never block: what is over the limit is refused at once. The engines compare with the numbers of Limits in place; the
// Guard is asked only when something is refused.
package limit
