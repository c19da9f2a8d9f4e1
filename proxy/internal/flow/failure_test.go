package flow_test

import (
	"testing"

	"github.com/weft-mesh/weft/proxy/internal/flow"
)

func TestErrorHeaderReadsAsItWasWritten(t *testing.T) {
	for _, hop := range []flow.Direction{flow.Outbound, flow.Inbound} {
		for reason := flow.NoRoute; reason <= flow.ClientGone; reason++ {
			text := string(flow.AppendErrorHeader(nil, hop, reason, "an, id=x"))
			gotHop, got, ok := flow.ParseErrorHeader(text)
			if !ok || got != reason || gotHop != hop {
				t.Errorf("ParseErrorHeader(%q) = %v, %v, %v", text, gotHop, got, ok)
			}
		}
	}
	for _, text := range []string{"", "hop=inbound", "hop=inbound, reason=", "hop=inbound, reason=none_such", "hop=app, reason=connect", "reason=connect"} {
		if _, reason, ok := flow.ParseErrorHeader(text); ok {
			t.Errorf("ParseErrorHeader(%q) = %v", text, reason)
		}
	}
}
