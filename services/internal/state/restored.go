package state

import (
	"fmt"
	"maps"

	"go.uber.org/zap"
)

// mostNamed is how many objects of each sort the log names.
const mostNamed = 20

// tellRestored says what another store in the place of the one that was followed means: people must not find out by a program
// that is suddenly allowed again.
func (f *Feed) tellRestored(epoch string, before, after map[objectKey]Change) {
	gone, lost := without(before, after)
	back, returned := without(after, before)
	f.cfg.Log.Warn("the store has been restored or made anew: everything was read anew, and changes made since its backup are gone; look over the objects below and those changed since",
		zap.String("epoch", epoch), zap.Int("objects_lost", lost), zap.Strings("lost", gone),
		zap.Int("objects_returned", returned), zap.Strings("returned", back))
}

// without names what is in a and not in b, some of it, and counts all of it.
func without(a, b map[objectKey]Change) (names []string, count int) {
	for _, c := range sortChanges(maps.Values(a)) {
		if _, both := b[objectKey{c.Kind, c.Key}]; both {
			continue
		}
		if count++; count <= mostNamed {
			names = append(names, fmt.Sprintf("%s %s", c.Kind, c.Key))
		}
	}
	return names, count
}
