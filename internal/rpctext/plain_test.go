package rpctext

import "testing"

func TestPlain(t *testing.T) {
	for text, want := range map[string]string{
		"":                             "",
		"there is no Route \"a\"":      "there is no Route \"a\"",
		"spec.desc = 1 is not allowed": "spec.desc = 1 is not allowed",
		`connection error: desc = "transport: Error while dialing: dial tcp 127.0.0.1:1: connect: connection refused"`:                  "dial tcp 127.0.0.1:1: connect: connection refused",
		`register: rpc error: code = PermissionDenied desc = workload "default/a" belongs to account "b"`:                               `register: workload "default/a" belongs to account "b"`,
		`latest balancer error: connection error: desc = "transport: authentication handshake failed: server's SVID: \"x\" is unknown"`: `authentication handshake failed: server's SVID: "x" is unknown`,
		`open: rpc error: code = Unavailable desc = connection error: desc = "error reading server preface: EOF"`:                       `open: error reading server preface: EOF`,
		`a: rpc error: code = Unavailable desc = b: rpc error: code = Internal desc = c`:                                                "a: b: c",
		`connection error: desc = "cut`: `connection error: desc = "cut`,
	} {
		if got := Plain(text); got != want {
			t.Errorf("Plain(%q) = %q, want %q", text, got, want)
		}
	}
}
