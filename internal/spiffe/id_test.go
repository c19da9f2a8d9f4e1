package spiffe_test

import (
	"testing"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/internal/spiffe"
)

// TestID1_IDIsAPureFunction: the same account of the same trust domain always has the same ID, other accounts have others,
// and the account can be read back from it.
func TestID1_IDIsAPureFunction(t *testing.T) {
	label := rapid.StringMatching(`[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?`)
	account := rapid.Custom(func(t *rapid.T) spiffe.Account {
		return spiffe.Account{Namespace: label.Draw(t, "namespace"), Name: label.Draw(t, "name")}
	})
	td := spiffeid.RequireTrustDomainFromString("weft.local")
	rapid.Check(t, func(t *rapid.T) {
		a, b := account.Draw(t, "a"), account.Draw(t, "b")
		ids := [3]spiffeid.ID{}
		for i, x := range []spiffe.Account{a, a, b} {
			id, err := spiffe.ID(td, x)
			if err != nil {
				t.Fatal(err)
			}
			ids[i] = id
		}
		if ids[0] != ids[1] {
			t.Errorf("one account has two IDs: %q, %q", ids[0], ids[1])
		}
		if (ids[0] == ids[2]) != (a == b) {
			t.Errorf("accounts %q and %q have IDs %q and %q", a, b, ids[0], ids[2])
		}
		if want := "spiffe://weft.local/ns/" + a.Namespace + "/sa/" + a.Name; ids[0].String() != want {
			t.Errorf("ID is %q, want %q", ids[0], want)
		}
		if back, err := spiffe.ParseID(ids[0]); err != nil || back != a {
			t.Errorf("ID %q reads back as %q (%v)", ids[0], back, err)
		}
	})
}

func TestIDRefuses(t *testing.T) {
	td := spiffeid.RequireTrustDomainFromString("weft.local")
	for _, a := range []spiffe.Account{{}, {Name: "a"}, {Namespace: "a"}, {Namespace: "a/sa/b", Name: "c"}, {Namespace: "..", Name: "a"}, {Namespace: "a", Name: "ä"}} {
		if id, err := spiffe.ID(td, a); err == nil {
			t.Errorf("account %q has ID %q", a, id)
		}
	}
}

// FuzzParseID: whatever account an ID is read as, that account has this ID and no other.
func FuzzParseID(f *testing.F) {
	for _, seed := range []string{
		"spiffe://weft.local/ns/default/sa/web", "spiffe://weft.local", "spiffe://weft.local/ns//sa/", "spiffe://weft.local/ns/a/sa/b/sa/c",
		"spiffe://weft.local/ns/sa/sa/sa", "spiffe://weft.local/sa/a/ns/b", "spiffe://weft.local/ns/a/b/sa/c",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		id, err := spiffeid.FromString(text)
		if err != nil {
			return
		}
		account, err := spiffe.ParseID(id)
		if err != nil {
			return
		}
		again, err := spiffe.ID(id.TrustDomain(), account)
		if err != nil || again != id {
			t.Errorf("%q is read as %q, whose ID is %q (%v)", id, account, again, err)
		}
	})
}
