// Package route is the stage that turns a request for a service into one backend: the first rule that matches decides, and
// a random number picks among its weighted backends. It is pure: no clock, no randomness of its own, no allocation.
//
// It must never know endpoints' health or load; that is balance's job, after the backend has been chosen, so that a split
// holds whatever the state of the endpoints.
package route
