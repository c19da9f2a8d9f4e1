package jointoken_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-mesh/weft/internal/spiffe/jointoken"
)

func TestHostTokenIsNoJoinToken(t *testing.T) {
	host, err := jointoken.EncodeHost(sample())
	if err != nil {
		t.Fatal(err)
	}
	workload, err := jointoken.Encode(sample())
	if err != nil {
		t.Fatal(err)
	}
	got, err := jointoken.DecodeHost(" " + host + "\n")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sample(), got); diff != "" {
		t.Errorf("token after a round trip (-want +got):\n%s", diff)
	}
	if _, err := jointoken.Decode(host); err == nil {
		t.Error("a host's token is taken for a workload's")
	}
	for text, want := range map[string]string{workload: "one workload", "hello": "begin with", "host-weft1.e30": "not valid"} {
		if _, err := jointoken.DecodeHost(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not say %q", err, want)
		}
	}
	broken := sample()
	broken.Roots = nil
	if _, err := jointoken.EncodeHost(broken); err == nil {
		t.Error("a token that trusts anybody is written")
	}
}
