package subscribe

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	"github.com/weft-mesh/weft/proxy/internal/subscribe/subscribetest"
)

var somewhere = netip.MustParseAddr("192.0.2.1")

func nothingAt(addr netip.Addr) *configpb.Resource {
	return &configpb.Resource{Name: "address/" + addr.String(), Version: "1", Body: &configpb.Resource_Address{Address: &configpb.Address{Address: addr.String()}}}
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

func TestAddressIsAskedOnceAndDroppedWhenNobodyCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, t.TempDir(), 1)
		defer r.stop()
		st := r.next()
		st.Update(first())
		answered := r.Address(somewhere)
		r.Address(somewhere)
		if diff := cmp.Diff([]string{"192.0.2.1"}, st.Next().GetSubscribe().GetAddAddresses()); diff != "" {
			t.Errorf("subscribed (-want +got):\n%s", diff)
		}
		if isClosed(answered) {
			t.Error("answered before the distributor did")
		}
		st.Update(&configpb.Update{Resources: []*configpb.Resource{nothingAt(somewhere)}, Current: true})
		<-answered
		if _, known := r.holder.Load().Addresses[somewhere]; !known {
			t.Error("answered, but the table does not have it")
		}
		if removed := beat(st, placeIdle/2); removed != nil {
			t.Errorf("removed %v too early", removed)
		}
		r.Address(somewhere) // in use
		if removed := beat(st, placeIdle-time.Minute); removed != nil {
			t.Errorf("removed %v although it was in use", removed)
		}
		if diff := cmp.Diff([]string{"192.0.2.1"}, beat(st, 3*time.Minute)); diff != "" {
			t.Errorf("removed (-want +got):\n%s", diff)
		}
		st.Update(&configpb.Update{Removed: []string{"address/192.0.2.1"}, Current: true})
		if _, known := r.holder.Load().Addresses[somewhere]; known {
			t.Error("it is still in the table")
		}
	})
}

// beat keeps a stream alive for a while and returns which addresses the client does not want any more.
func beat(st *subscribetest.Stream, d time.Duration) (removed []string) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		time.Sleep(30 * time.Second)
		st.Send(&configpb.Update{Current: true})
		request := st.Next()
		for ; request.GetAck() == nil; request = st.Next() {
			removed = append(removed, request.GetSubscribe().GetRemoveAddresses()...)
		}
	}
	return removed
}

func TestAddressDoesNotWaitForADistributorThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, t.TempDir(), 1)
		defer r.stop()
		if !isClosed(r.Address(netip.MustParseAddr("127.0.0.1"))) {
			t.Error("loopback is nobody's, and yet somebody waits")
		}
		st := r.next()
		st.Update(first())
		waiting := r.Address(somewhere)
		st.Next() // the subscription
		r.replicas[0].SetDown(true)
		st.End(status.Error(codes.Unavailable, "going down"))
		<-waiting // lets go when the stream ends
		synctest.Wait()
		if !isClosed(r.Address(somewhere)) {
			t.Error("waits although nobody can answer")
		}
		r.replicas[0].SetDown(false)
		again := r.next()
		if diff := cmp.Diff([]string{"192.0.2.1"}, again.Open.GetAddresses()); diff != "" {
			t.Errorf("asked again (-want +got):\n%s", diff)
		}
		waiting = r.Address(somewhere)
		if isClosed(waiting) {
			t.Error("does not wait for the answer that will come")
		}
		again.Update(&configpb.Update{Resources: []*configpb.Resource{nothingAt(somewhere)}, Current: true})
		<-waiting
	})
}

func TestAddressWaitsForASilentDistributorOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, t.TempDir(), 1)
		defer r.stop()
		st := r.next()
		st.Update(first())
		r.Address(somewhere)
		st.Next() // the subscription, which is not answered
		if isClosed(r.Address(somewhere)) {
			t.Error("does not wait at first")
		}
		time.Sleep(answerWithin)
		if !isClosed(r.Address(somewhere)) {
			t.Error("waits for who has said nothing")
		}
		st.Update(&configpb.Update{Resources: []*configpb.Resource{nothingAt(somewhere)}, Current: true})
		if _, known := r.holder.Load().Addresses[somewhere]; !known {
			t.Error("a late answer does not count")
		}
	})
}

func TestAddressesSurviveARestartAndAreBounded(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := start(t, dir, 1)
		st := r.next()
		st.Update(first())
		r.Address(somewhere)
		st.Next()
		st.Update(&configpb.Update{Resources: []*configpb.Resource{nothingAt(somewhere)}, Current: true})
		r.stop()

		r = start(t, dir, 1)
		if _, known := r.holder.Load().Addresses[somewhere]; !known || !isClosed(r.Address(somewhere)) {
			t.Error("what was known of the address is lost")
		}
		r.stop() // from here on it is the client's memory only
		for i := range 2 * maxPlaces {
			time.Sleep(time.Millisecond)
			r.Address(netip.AddrFrom4([4]byte{198, 51, byte(i >> 8), byte(i)}))
			r.Address(somewhere)
		}
		if len(r.places) != maxPlaces || r.places[somewhere] == nil {
			t.Errorf("%d addresses are wanted; the one in use: %v", len(r.places), r.places[somewhere])
		}
	})
}
