package forward

import (
	"testing"

	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/h1"
)

func TestAnswersAreValid(t *testing.T) {
	for reason := flow.NoRoute; reason <= flow.TooSlow; reason++ {
		if reason == flow.ClientGone { // nobody is there to be answered
			continue
		}
		for _, head := range []bool{false, true} {
			got := answer{hop: flow.Inbound, reason: reason, requestID: "7", close: head, head: head, over: "over the limit x"}.append(nil)
			end, _, err := h1.HeadEnd(got, 0)
			if err != nil || end == 0 {
				t.Fatalf("%v: %q: %v", reason, got, err)
			}
			var r h1.Response
			if err := r.Parse(got[:end], []byte("GET")); err != nil {
				t.Fatalf("%v: %q: %v", reason, got, err)
			}
			if r.Status != reason.Info().HTTP || r.Close != head || phrase(r.Status) == "Error" {
				t.Errorf("%v: %q", reason, got)
			}
			if body := len(got) - end; !head && int64(body) != r.Length || head && body != 0 {
				t.Errorf("%v: body of %d bytes, length %d", reason, body, r.Length)
			}
			if value, _ := r.Header("weft-error"); value != nil {
				t.Errorf("%v: a rule could see weft-error", reason)
			}
		}
	}
}
