// Package resource is the logic that every kind of object's create, update, get, list and delete calls share: decode, check,
// warn, write under an etag, and answer with the revision. A service's handler for one call is one line around it.
//
// It must never know a kind's meaning: rules come from the model, and what a service adds comes in as hooks.
package resource
