package repeat

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminpb "github.com/weft-mesh/weft/gen/weft/admin/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/kv"
)

// Header is the name of the metadata key and of the HTTP header.
const Header = "idempotency-key"

const (
	prefix = "repeats/default/"
	// maxKey bounds a key, in bytes.
	maxKey = 128
	// maxAnswer bounds an answer that is kept: etcd takes values of a little more than a MiB.
	maxAnswer = 256 << 10
	// slack is how long after its deadline a call surely runs no more.
	slack = 10 * time.Second
	// storeTimeout bounds the writing of an outcome.
	storeTimeout = 5 * time.Second
)

// Config says how long answers are kept.
type Config struct{ Window time.Duration }

// Validate reports all problems of the configuration.
func (c Config) Validate() error {
	if c.Window < time.Minute || c.Window > 7*24*time.Hour {
		return fmt.Errorf("idempotency-window is %s; it must be 1m to 168h", c.Window)
	}
	return nil
}

// Keeper keeps answers. Safe for concurrent use.
type Keeper struct {
	cfg   Config
	store kv.Store
	log   *zap.Logger
	now   func() time.Time
}

// New makes a Keeper; Run removes what is too old.
func New(cfg Config, store kv.Store, log *zap.Logger, now func() time.Time) *Keeper {
	return &Keeper{cfg: cfg, store: store, log: log, now: now}
}

// Call is a call that came with a key.
type Call struct {
	// Caller, as the keys of one caller are none of another's.
	Caller string
	Key    string
	// Method and Request are what must be the same again; Request in an encoding that is equal for equal messages.
	Method  string
	Request []byte
	// Deadline after which this call surely does nothing more.
	Deadline time.Time
}

// Answer is what was answered: a message, or an error.
type Answer struct {
	Response []byte
	Err      error
}

// Run is a call that is to be carried out now; Finish must be called.
type Run struct {
	keeper   *Keeper
	key      string
	revision int64
	record   *adminpb.IdempotencyRecord
}

// Begin returns the answer of an earlier call, or the Run of one that is to be carried out.
func (k *Keeper) Begin(ctx context.Context, c Call) (*Answer, *Run, error) {
	if err := checkKey(c.Key); err != nil {
		return nil, nil, err
	}
	sum := sha256.Sum256([]byte(c.Caller + "\x00" + c.Key))
	request := sha256.Sum256(append([]byte(c.Method+"\x00"), c.Request...))
	run := &Run{keeper: k, key: prefix + hex.EncodeToString(sum[:]), record: &adminpb.IdempotencyRecord{
		RequestSha256: request[:], CreateTime: timestamppb.New(k.now()), ExpireTime: timestamppb.New(c.Deadline.Add(slack)),
	}}
	condition := kv.IfAbsent()
	for {
		var err error
		if run.revision, err = k.put(ctx, run.key, run.record, condition); err == nil {
			return nil, run, nil
		}
		if !errors.Is(err, kv.ErrConflict) {
			return nil, nil, storeFault(err)
		}
		earlier, revision, err := k.get(ctx, run.key)
		switch {
		case errors.Is(err, kv.ErrNotFound):
			condition = kv.IfAbsent()
			continue
		case err != nil:
			return nil, nil, storeFault(err)
		case !k.now().Before(earlier.GetExpireTime().AsTime()):
			condition = kv.IfRevision(revision)
			continue
		}
		answer, err := judge(earlier, request[:])
		return answer, nil, err
	}
}

// judge says what an earlier call means for this one.
func judge(earlier *adminpb.IdempotencyRecord, request []byte) (*Answer, error) {
	switch {
	case !bytes.Equal(earlier.GetRequestSha256(), request):
		return nil, fault.InvalidFields("request", []fault.Field{{
			Path: Header, Problem: fmt.Sprintf("was used for another request at %s; take a new key for a new request", earlier.GetCreateTime().AsTime().Format(time.RFC3339)),
		}})
	case !earlier.GetDone():
		return nil, fault.New(fault.Conflict, "the first call with this %s still runs; ask again in a moment", Header)
	case earlier.GetNotKept() != "":
		return nil, fault.New(fault.Conflict, "the call with this %s was carried out at %s, but its answer was not kept: %s",
			Header, earlier.GetCreateTime().AsTime().Format(time.RFC3339), earlier.GetNotKept())
	case len(earlier.GetStatus()) > 0:
		st := &statuspb.Status{}
		if err := proto.Unmarshal(earlier.GetStatus(), st); err != nil {
			return nil, fmt.Errorf("decode kept status: %w", err)
		}
		return &Answer{Err: status.ErrorProto(st)}, nil
	}
	return &Answer{Response: earlier.GetResponse()}, nil
}

func checkKey(key string) error {
	good := len(key) > 0 && len(key) <= maxKey
	for i := range len(key) {
		good = good && key[i] > ' ' && key[i] < 0x7f
	}
	if good {
		return nil
	}
	return fault.InvalidFields("request", []fault.Field{{Path: Header, Problem: fmt.Sprintf("must be 1 to %d visible ASCII characters", maxKey)}})
}

// Finish keeps the answer, unless it leaves open what happened: then the key is free again. A secret answer is not kept, only
// that there was one.
func (r *Run) Finish(ctx context.Context, response []byte, st *status.Status, secret bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	var err error
	switch st.Code() {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.Internal, codes.Unknown, codes.ResourceExhausted:
		_, err = r.keeper.store.Delete(ctx, r.key, kv.IfRevision(r.revision))
	default:
		err = r.keep(ctx, response, st, secret)
	}
	if err != nil { // until its time has passed, the key says that the call still runs
		r.keeper.log.Warn("answer of a call with an idempotency key is not kept", zap.Error(err))
	}
}

func (r *Run) keep(ctx context.Context, response []byte, st *status.Status, secret bool) (err error) {
	r.record.Done = true
	r.record.ExpireTime = timestamppb.New(r.keeper.now().Add(r.keeper.cfg.Window))
	switch {
	case st.Code() != codes.OK:
		if r.record.Status, err = proto.Marshal(st.Proto()); err != nil {
			return fmt.Errorf("encode status: %w", err)
		}
	case secret:
		r.record.NotKept = "it held a secret, which is shown once; revoke what was made if it is lost"
	case len(response) > maxAnswer:
		r.record.NotKept = fmt.Sprintf("it had %d bytes; read what was made", len(response))
	default:
		r.record.Response = response
	}
	_, err = r.keeper.put(ctx, r.key, r.record, kv.IfRevision(r.revision))
	return err
}

func (k *Keeper) put(ctx context.Context, key string, record *adminpb.IdempotencyRecord, c kv.Condition) (int64, error) {
	raw, err := proto.Marshal(record)
	if err != nil {
		return 0, fmt.Errorf("encode record of an idempotency key: %w", err)
	}
	return k.store.Put(ctx, key, raw, c)
}

func (k *Keeper) get(ctx context.Context, key string) (*adminpb.IdempotencyRecord, int64, error) {
	entry, err := k.store.Get(ctx, key)
	if err != nil {
		return nil, 0, err
	}
	record := &adminpb.IdempotencyRecord{}
	if err := proto.Unmarshal(entry.Value, record); err != nil {
		return nil, 0, fmt.Errorf("decode record of an idempotency key: %w", err)
	}
	return record, entry.Revision, nil
}

// storeFault makes what the store said into what the caller can do about it: try again.
func storeFault(err error) error {
	var known *fault.Error
	if errors.As(err, &known) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fault.Wrap(fault.Unavailable, err, "look for an earlier call with this %s", Header)
}
