package listing

import (
	"testing"

	policypb "github.com/weft-mesh/weft/gen/weft/policy/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/fault"
)

// Whatever a client sends as a token or a filter, it gets a page or is told which field is wrong.
func FuzzListing(f *testing.F) {
	f.Add("", "")
	f.Fuzz(func(t *testing.T, token, expression string) {
		filter, err := NewFilter(expression, &policypb.Route{})
		if err == nil {
			_, err = filter.Match(t.Context(), object())
		}
		if err != nil && !fault.Is(err, fault.Invalid) {
			t.Errorf("filter %q: %v", expression, err)
		}
		page, next, err := Cut(t.Context(), []string{"a", "b", "c"}, self, any1, Page{Size: 2, Token: token, Query: []string{"q"}, Epoch: epoch("e")})
		if err != nil && !fault.Is(err, fault.Invalid) || err == nil && len(page) == 2 && page[1] != "c" && next == "" {
			t.Errorf("token %q: %q, %q, %v", token, page, next, err)
		}
	})
}
