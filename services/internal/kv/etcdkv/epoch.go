package etcdkv

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// epochKey lies outside every service's prefix, because all sources of one store share its history.
const epochKey = "/weft/epoch"

// Epoch is etcd's cluster id and a random name that the first who asks writes. The name changes with a new store, the cluster
// id also when a snapshot is restored, as long as the restored cluster gets a token of its own (--initial-cluster-token), as
// etcd's manual demands; who restores without one deletes the key. Replace writes a new name.
func (s *Store) Epoch(ctx context.Context) (string, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	read, err := s.client.Get(ctx, epochKey)
	if err != nil {
		return "", wrap(ctx, err, "get", epochKey)
	}
	if len(read.Kvs) > 0 {
		name := string(read.Kvs[0].Value)
		return epoch(read.Header.ClusterId, name), whole(name)
	}
	name := strings.ToLower(rand.Text()[:10])
	txn, err := s.client.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(epochKey), "=", 0)).
		Then(clientv3.OpPut(epochKey, name)).
		Else(clientv3.OpGet(epochKey)).Commit()
	if err != nil {
		return "", wrap(ctx, err, "put", epochKey)
	}
	if !txn.Succeeded {
		name = string(txn.Responses[0].GetResponseRange().Kvs[0].Value)
	}
	return epoch(txn.Header.ClusterId, name), whole(name)
}

func epoch(cluster uint64, name string) string { return fmt.Sprintf("%x-%s", cluster, name) }
