package proxy_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/proxy/internal/controltest"
)

// TestE7_SidecarThatWasNotRenewedSaysSo: while identity is there an SVID is renewed time and again; when it stays away longer
// than the SVID lives, the sidecar is not ready, says why and what to do, and lets nothing through.
func TestE7_SidecarThatWasNotRenewedSaysSo(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	r := &rig{t: t, ctx: ctx, plane: controltest.New(t)}
	r.plane.Identity.TTL = 3 * time.Second
	r.app = serveApp(t, http.HandlerFunc(hello))
	r.plane.Distributor.SetIndex(shard("default/reviews"))
	r.reviews = r.startReviews("reviews-1")
	shop := config(t, "shop-1")
	shop.JoinToken = r.plane.Token(spiffe.Account{Namespace: "default", Name: "shop"})
	r.plane.Distributor.Set("default/shop-1", r.shopResources()...)
	r.shop = r.start(shop)
	r.until("renewals", func() error {
		if r.plane.Identity.Issued() < 4 {
			return errWait
		}
		return nil
	})
	r.plane.Stop()
	r.until("the end", func() error {
		_, err := r.shop.admin("/readyz")
		if err == nil || !strings.Contains(err.Error(), "the identity ran out at ") || !strings.Contains(err.Error(), "new join token") {
			return errWait
		}
		return nil
	})
}

var errWait = errors.New("not yet")
