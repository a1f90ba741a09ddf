package s3

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	kmsapi "github.com/sekisho/sekisho/internal/api/kms"
	api "github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/blob"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/seal"
	"github.com/sekisho/sekisho/internal/servicetest"
)

// testBlobs is a store in memory that tests can look into.
type testBlobs struct{ *blob.Memory }

func newTestBlobs() testBlobs { return testBlobs{blob.NewMemory()} }

func (b testBlobs) bytes(t testing.TB, name string) []byte {
	t.Helper()
	r, err := b.Get(context.Background(), name, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	all, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func (b testBlobs) names(t testing.TB) []string {
	t.Helper()
	list, err := b.List(context.Background(), "", 1000)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, i := range list {
		names = append(names, i.Name)
	}
	return names
}

// world is the service in a world of its own, with a small KMS beside it.
type world struct {
	*servicetest.Env
	s     *Service
	blobs testBlobs
	kms   *fakeKMS
}

func newWorld(e *servicetest.Env) *world {
	w := &world{Env: e, blobs: newTestBlobs(), kms: newFakeKMS()}
	w.s = New(e.DB, w.blobs, e.Master.For("s3"), e.Door, e, e.Jobs)
	w.s.now = e.Now
	w.s.minPart = 10
	e.Door.Serve("s3", w.s.Operations())
	e.Door.Serve("kms", w.kms.operations())
	return w
}

func (w *world) as(who string) api.Client { return api.Client{Invoker: w.As(who)} }

func each(t *testing.T, test func(w *world)) {
	t.Helper()
	servicetest.Each(t, func(e *servicetest.Env) { test(newWorld(e)) }, Schema())
}

func TestScripts(t *testing.T) {
	servicetest.Run(t, func(e *servicetest.Env) { newWorld(e) }, Schema())
}

// fakeKMS has a key for every name: "disabled" and "pending" are in those
// states, "missing…" do not exist, and the policy of each gives its account
// the word, and account 222222222222 too if the name begins with "shared".
// It is asked and judged like the real one.
type fakeKMS struct {
	box   *seal.Box
	mu    sync.Mutex
	calls []string // operation, key and context
}

func newFakeKMS() *fakeKMS {
	box, err := seal.NewBox(make([]byte, seal.KeySize))
	if err != nil {
		panic(err)
	}
	return &fakeKMS{box: box}
}

func (k *fakeKMS) operations() []call.Operation {
	return []call.Operation{
		call.Op("GenerateDataKey",
			func(ctx context.Context, c *call.Call, in *kmsapi.GenerateDataKeyInput) ([]call.Need, error) {
				return k.needs(c, "kms:GenerateDataKey", in.KeyId, in.EncryptionContext)
			}, k.generate),
		call.Op("Decrypt",
			func(ctx context.Context, c *call.Call, in *kmsapi.DecryptInput) ([]call.Need, error) {
				return k.needs(c, "kms:Decrypt", in.KeyId, in.EncryptionContext)
			}, k.decrypt),
	}
}

// arn resolves a key id as KMS does: in the caller's account unless it is an
// ARN.
func (k *fakeKMS) arn(c *call.Call, id string) string {
	id = strings.TrimPrefix(id, "alias/aws/")
	if strings.HasPrefix(id, "arn:") {
		return id
	}
	return aws.NewARN("kms", c.Region, c.Account(), "key/"+id)
}

func (k *fakeKMS) needs(c *call.Call, action, id string, kmsContext map[string]string) ([]call.Need, error) {
	arn := k.arn(c, id)
	parsed, _ := aws.ParseARN(arn)
	principals := []string{"arn:aws:iam::" + parsed.Account + ":root"}
	if strings.Contains(arn, "key/shared") {
		principals = append(principals, "arn:aws:iam::222222222222:root")
	}
	names, _ := json.Marshal(principals)
	doc, err := policy.Parse(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":`+string(names)+`},"Action":"kms:*","Resource":"*"}]}`, policy.Key)
	if err != nil {
		return nil, err
	}
	keys := policy.Keys{}
	for name, value := range kmsContext {
		keys["kms:encryptioncontext:"+strings.ToLower(name)] = []string{value}
	}
	return []call.Need{{
		Action: action, Resource: arn, Owner: parsed.Account, Keys: keys,
		Policy: &policy.Source{Kind: policy.Key, Name: "default", On: arn, Doc: doc},
	}}, nil
}

func (k *fakeKMS) usable(arn string) error {
	switch {
	case strings.HasSuffix(arn, "/disabled"):
		return aws.Errorf("DisabledException", "%s is disabled.", arn)
	case strings.HasSuffix(arn, "/pending"):
		return aws.Errorf("KMSInvalidStateException", "%s is pending deletion.", arn)
	case strings.Contains(arn, "/missing"):
		return aws.Errorf("NotFoundException", "Key '%s' does not exist", arn)
	}
	return nil
}

func bound(arn string, kmsContext map[string]string) []byte {
	text := arn
	for _, name := range slices.Sorted(maps.Keys(kmsContext)) {
		text += "\n" + name + "=" + kmsContext[name]
	}
	return []byte(text)
}

func (k *fakeKMS) note(operation, arn string, c *call.Call, kmsContext map[string]string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.calls = append(k.calls, operation+" "+arn+" "+kmsContext["aws:s3:arn"]+" "+strings.Join(c.Via, ","))
}

func (k *fakeKMS) generate(_ context.Context, c *call.Call, in *kmsapi.GenerateDataKeyInput) (*kmsapi.GenerateDataKeyOutput, error) {
	arn := k.arn(c, in.KeyId)
	k.note("GenerateDataKey", arn, c, in.EncryptionContext)
	if err := k.usable(arn); err != nil {
		return nil, err
	}
	plain := make([]byte, seal.KeySize)
	rand.Read(plain)
	return &kmsapi.GenerateDataKeyOutput{KeyId: arn, Plaintext: plain, CiphertextBlob: k.box.Seal(plain, bound(arn, in.EncryptionContext))}, nil
}

func (k *fakeKMS) decrypt(_ context.Context, c *call.Call, in *kmsapi.DecryptInput) (*kmsapi.DecryptOutput, error) {
	arn := k.arn(c, in.KeyId)
	k.note("Decrypt", arn, c, in.EncryptionContext)
	if err := k.usable(arn); err != nil {
		return nil, err
	}
	plain, err := k.box.Open(in.CiphertextBlob, bound(arn, in.EncryptionContext))
	if err != nil {
		return nil, aws.Errorf("InvalidCiphertextException", "")
	}
	return &kmsapi.DecryptOutput{KeyId: arn, Plaintext: plain}, nil
}

// Shorthands of tests: what must work does.

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func (w *world) bucket(c api.Client, name string) {
	w.T.Helper()
	must[*api.CreateBucketOutput](w.T)(c.CreateBucket(w.T.Context(), &api.CreateBucketInput{Bucket: name}))
}

func (w *world) versioned(c api.Client, name, status string) {
	w.T.Helper()
	must[*api.PutBucketVersioningOutput](w.T)(c.PutBucketVersioning(w.T.Context(), &api.PutBucketVersioningInput{
		Bucket: name, VersioningConfiguration: &api.VersioningConfiguration{Status: status},
	}))
}

func (w *world) put(c api.Client, bucket, key, text string) *api.PutObjectOutput {
	w.T.Helper()
	return must[*api.PutObjectOutput](w.T)(c.PutObject(w.T.Context(), &api.PutObjectInput{Bucket: bucket, Key: key, Body: strings.NewReader(text)}))
}

func (w *world) get(c api.Client, in *api.GetObjectInput) (string, *api.GetObjectOutput) {
	w.T.Helper()
	out := must[*api.GetObjectOutput](w.T)(c.GetObject(w.T.Context(), in))
	defer out.Body.Close()
	return string(must[[]byte](w.T)(io.ReadAll(out.Body))), out
}

func (w *world) text(c api.Client, bucket, key string) string {
	w.T.Helper()
	text, _ := w.get(c, &api.GetObjectInput{Bucket: bucket, Key: key})
	return text
}

const (
	rootA = "root@111111111111"
	rootB = "root@222222222222"
)
