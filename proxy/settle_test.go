package proxy

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestProgramWaitsForTheNewestConfiguration(t *testing.T) {
	tests := []struct {
		name          string
		current, away bool
		after         time.Duration
		settled       bool
	}{
		{"at once", false, false, 0, false},
		{"confirmed", true, false, 0, true},
		{"no control plane", false, true, 0, true},
		{"slow control plane, still waiting", false, false, settleWithin - time.Millisecond, false},
		{"slow control plane, waited enough", false, false, settleWithin, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSettling()
				time.Sleep(tt.after)
				if err := s.check(tt.current, tt.away); (err == nil) != tt.settled {
					t.Errorf("got %v", err)
				}
				if err := s.check(false, false); tt.settled && err != nil {
					t.Errorf("settled once, but not for ever: %v", err)
				}
			})
		})
	}
}
