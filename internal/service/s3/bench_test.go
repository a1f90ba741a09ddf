package s3

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"testing"

	api "github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/blob"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/job"
	"github.com/sekisho/sekisho/internal/seal"
	"github.com/sekisho/sekisho/internal/state"
)

// openDoor lets everybody through to the services behind it.
type openDoor struct{ operations map[string]call.Operation }

func (d *openDoor) As(s call.Session) call.Invoker { return &openInvoker{d, s} }

func (d *openDoor) Identify(context.Context, string, string, string) (aws.Principal, error) {
	return aws.Principal{}, nil
}

type openInvoker struct {
	d *openDoor
	s call.Session
}

func (i *openInvoker) Invoke(ctx context.Context, service, operation string, in any) (any, error) {
	c := &call.Call{Service: service, Operation: operation, Region: i.s.Region, Principal: i.s.Principal, Secure: true, Via: i.s.Via, Time: benchTime}
	c = c.WithJudge(func(context.Context, *call.Call, call.Need) error { return nil })
	op := i.d.operations[service+" "+operation]
	if op.Needs != nil {
		if _, err := op.Needs(ctx, c, in); err != nil {
			return nil, err
		}
	}
	return op.Handle(ctx, c, in)
}

var benchTime = state.Time(1_800_000_000_000)

// benchmarkS3 is a service on disk with a bucket.
func benchmarkS3(b *testing.B) api.Client {
	_, c := onDisk(b, b.TempDir())
	must[*api.CreateBucketOutput](b)(c.CreateBucket(b.Context(), &api.CreateBucketInput{Bucket: "bench"}))
	return c
}

// onDisk runs the service on a database and blobs on disk.
func onDisk(b testing.TB, dir string) (*Service, api.Client) {
	db, err := state.Open(b.Context(), filepath.Join(dir, "state.db"), Schema(), job.Schema())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	blobs, err := blob.OpenFiles(filepath.Join(dir, "blobs"))
	if err != nil {
		b.Fatal(err)
	}
	box, err := seal.NewBox(make([]byte, seal.KeySize))
	if err != nil {
		b.Fatal(err)
	}
	door := &openDoor{map[string]call.Operation{}}
	k := newFakeKMS()
	door.operations["kms GenerateDataKey"] = call.PublicOp("GenerateDataKey", "a benchmark", k.generate)
	door.operations["kms Decrypt"] = call.PublicOp("Decrypt", "a benchmark", k.decrypt)
	s := New(db, blobs, box, door, nil, job.NewQueue(db, job.Options{}))
	for _, op := range s.Operations() {
		door.operations["s3 "+op.Name] = op
	}
	return s, api.Client{Invoker: door.As(call.Session{Principal: aws.RootPrincipal("111111111111"), Region: "us-east-1"})}
}

var benchSizes = []struct {
	name string
	size int
}{{"1KiB", 1 << 10}, {"64MiB", 64 << 20}}

func BenchmarkPutObject(b *testing.B) {
	for _, sse := range []string{sseKMS, sseS3} {
		for _, size := range benchSizes {
			b.Run(fmt.Sprintf("%s/%s", sse, size.name), func(b *testing.B) {
				c := benchmarkS3(b)
				body := make([]byte, size.size)
				b.SetBytes(int64(size.size))
				b.ReportAllocs()
				for b.Loop() {
					_, err := c.PutObject(b.Context(), &api.PutObjectInput{Bucket: "bench", Key: "k", Body: bytes.NewReader(body), ServerSideEncryption: sse})
					if err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkGetObject(b *testing.B) {
	for _, size := range benchSizes {
		b.Run("aws:kms/"+size.name, func(b *testing.B) {
			c := benchmarkS3(b)
			_, err := c.PutObject(b.Context(), &api.PutObjectInput{Bucket: "bench", Key: "k", Body: bytes.NewReader(make([]byte, size.size)), ServerSideEncryption: sseKMS})
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(size.size))
			b.ReportAllocs()
			for b.Loop() {
				out, err := c.GetObject(b.Context(), &api.GetObjectInput{Bucket: "bench", Key: "k"})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, out.Body); err != nil {
					b.Fatal(err)
				}
				out.Body.Close()
			}
		})
	}
}
