// Package health remembers, for each endpoint, what requests have shown: how many are in flight, how slow it was lately,
// and whether connections to it fail. The memory outlives routing tables (it is keyed by Endpoint.Key), so that a change of
// configuration neither forgets a dead endpoint nor the load on a living one.
//
// In come outcomes of requests (through balance) and every new table (Reconcile); out go numbers for the pickers. It must
// never remove an endpoint from anybody's choice by itself: it only says what it knows.
package health
