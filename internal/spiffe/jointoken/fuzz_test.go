package jointoken_test

import (
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/spiffe/jointoken"
)

// FuzzDecode: whatever Decode accepts, Encode writes again byte for byte; nothing makes it panic.
func FuzzDecode(f *testing.F) {
	good, err := jointoken.Encode(sample())
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{"", "weft1.", "weft1.e30", good, good[:40], "weft2." + good[6:]} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		token, err := jointoken.Decode(text)
		if err != nil {
			return
		}
		again, err := jointoken.Encode(token)
		if err != nil {
			t.Fatalf("decoded but cannot be encoded: %v", err)
		}
		if again != strings.TrimSpace(text) {
			t.Errorf("encoded again it is %q, was %q", again, text)
		}
	})
}
