package snapshot

import (
	"crypto/sha256"
	"maps"
	"slices"
)

// DigestSize is the length of a digest.
const DigestSize = 8

// Digest is the hash, as the contract of Update.digest specifies it, over every resource that the distributor believes this
// sidecar to hold. A refused resource counts with the refused version: the distributor sent it, and a refusal must not look
// like a loss.
func (s *State) Digest() []byte {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(s.offered)) {
		h.Write([]byte(name))
		h.Write([]byte{0})
		h.Write([]byte(s.offered[name]))
		h.Write([]byte{'\n'})
	}
	return h.Sum(nil)[:DigestSize]
}
