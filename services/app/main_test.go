package app

import (
	"os"
	"path/filepath"
	"testing"
)

func TestMainExitCodes(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	write(t, bad, "lease-ttl: 1ms\n")
	never := Build{Name: Policy, New: func(*Env) (Service, error) {
		t.Error("built although nothing was to run")
		return nil, os.ErrInvalid
	}}
	tests := []struct {
		name string
		args []string
		want int
	}{
		{"help", []string{"--help"}, exitOK},
		{"version", []string{"--version"}, exitOK},
		{"check", []string{"--check-config", "--data-dir", "/data"}, exitOK},
		{"check of an invalid file", []string{"--check-config", "--config", bad}, exitInvalid},
		{"invalid setting", []string{"--log-level", "loud"}, exitInvalid},
		{"unknown flag", []string{"--no-such-flag"}, exitUsage},
		{"argument", []string{"up"}, exitUsage},
	}
	args := os.Args
	defer func() { os.Args = args }()
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			os.Args = append([]string{"weft-policy"}, tc.args...)
			if got := Main(never); got != tc.want {
				t.Errorf("Main(%q) = %d, want %d", tc.args, got, tc.want)
			}
		})
	}
}
