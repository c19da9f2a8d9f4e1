// Package listing is how every list of the API is cut into pages, filtered and trimmed: one meaning of page_size, page_token,
// filter, read_mask and update_mask for all kinds of objects.
//
// It must never know a kind: what it needs of an object it finds by reflection, or is told.
package listing
