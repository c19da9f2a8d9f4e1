//go:build weftpoison

package wire

import (
	"bytes"
	"testing"
)

func TestReleasedBuffersArePoisoned(t *testing.T) {
	b := Get(Small)
	view := b.B[:5]
	copy(view, "hello")
	b.Release()
	if !bytes.Equal(view, bytes.Repeat([]byte{Poison}, 5)) {
		t.Errorf("a view still sees %q", view)
	}
	defer func() {
		if recover() == nil {
			t.Error("released twice without a panic")
		}
	}()
	b.Release()
}
