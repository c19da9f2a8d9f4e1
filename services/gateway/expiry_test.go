package gateway

import (
	"strings"
	"testing"
	"time"

	adminpb "github.com/weft-mesh/weft/gen/weft/admin/v1alpha1"
	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
)

// TestE7_EndOfSVIDsIsAnnouncedForTheFleet: an outage of identity shows in `weft check` from half of the life of an SVID on, in
// plainer words when a third is left, as an error when it is over; and `weft status` says all the time how long an outage may last.
func TestE7_EndOfSVIDsIsAnnouncedForTheFleet(t *testing.T) {
	const ttl = 48 * time.Hour
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		left     time.Duration
		severity adminpb.Severity
		says     string
	}{
		{ttl, adminpb.Severity_SEVERITY_OK, ""},
		{ttl / 2, adminpb.Severity_SEVERITY_OK, ""},
		{ttl/2 - ttl/20 - time.Second, adminpb.Severity_SEVERITY_WARNING, "past half of its life"},
		{ttl/3 - time.Second, adminpb.Severity_SEVERITY_WARNING, "less than a third"},
		{time.Minute, adminpb.Severity_SEVERITY_WARNING, "runs out in 1m0s"},
		{-time.Minute, adminpb.Severity_SEVERITY_ERROR, "ran out 1m0s ago"},
	} {
		sidecars := []*configpb.SidecarStatus{sidecar("young-1", true, ttl, now), sidecar("shop-1", true, tt.left, now)}
		v := view{status: &adminpb.GetStatusResponse{Sidecars: sidecars}, now: now, svidTTL: ttl}
		got := v.findings()[0]
		for _, f := range v.out {
			if f.GetSubject() == "sidecar default/shop-1" {
				got = f
			}
		}
		if tt.says == "" {
			if len(v.out) != 6 { // one for each topic
				t.Errorf("%v left: %v", tt.left, v.out)
			}
		} else if got.GetSeverity() != tt.severity || !strings.Contains(got.GetMessage(), tt.says) || !strings.Contains(got.GetRemedy(), "identity") {
			t.Errorf("%v left: %v", tt.left, got)
		}
		outage, limiting := guaranteed(sidecars, now)
		if outage.AsDuration() != max(tt.left, 0) || tt.left != ttl && limiting != "default/shop-1" {
			t.Errorf("%v left: an outage of %v because of %q", tt.left, outage.AsDuration(), limiting)
		}
	}
}
