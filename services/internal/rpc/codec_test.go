package rpc

import (
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
)

// TestEncodedGoesOutAsItIs: parts are sent as they are, in order; everything else is protobuf as ever.
func TestEncodedGoesOutAsItIs(t *testing.T) {
	c := newCodec()
	want := &fieldmaskpb.FieldMask{Paths: []string{"a", "b", "c"}}
	var parts [][]byte
	for _, path := range want.GetPaths() {
		raw, err := proto.Marshal(&fieldmaskpb.FieldMask{Paths: []string{path}})
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, raw, nil)
	}
	for _, message := range []any{want, &Encoded{Parts: parts}} {
		raw, err := c.Marshal(message)
		if err != nil {
			t.Fatal(err)
		}
		got := &fieldmaskpb.FieldMask{}
		if err := c.Unmarshal(raw, got); err != nil || !proto.Equal(want, got) {
			t.Errorf("%T: want %v, got %v, %v", message, want, got, err)
		}
	}
	if _, err := c.Marshal("text"); err == nil {
		t.Error("a string was encoded")
	}
	if c.Name() != "proto" {
		t.Errorf("the codec is called %q", c.Name())
	}
}
