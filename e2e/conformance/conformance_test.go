// Package conformance holds the shapes and codecs against the official SDK:
// every operation of every service, every member, both ways, and every
// modelled error. Nothing leaves the process.
package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/codecommit"
	"github.com/aws/aws-sdk-go-v2/service/codepipeline"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/organizations"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/sekisho/sekisho/internal/api/apitest"
	ours "github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/wire"
)

// operations is how many operations the test carries. Fewer is a loss.
const operations = 741

// modelledErrors is how many errors the operations name together.
const modelledErrors = 3707

// leftOut are the operations of the models that the SDK has not, with the
// reason.
var leftOut = map[string]string{
	"s3/GetBucketLifecycle":    "given up by AWS for GetBucketLifecycleConfiguration",
	"s3/PutBucketLifecycle":    "given up by AWS for PutBucketLifecycleConfiguration",
	"s3/GetBucketNotification": "given up by AWS for GetBucketNotificationConfiguration",
	"s3/PutBucketNotification": "given up by AWS for PutBucketNotificationConfiguration",
}

// noOutput are operations whose output the test does not carry.
var noOutput = map[string]string{
	"s3/SelectObjectContent": "answers with an event stream, which is passed through as bytes",
}

// mute are errors that the model gives no message, so that the SDK reads none.
var mute = map[string]bool{"codepipeline/WebhookNotFoundException": true}

// wireTap is the HTTP client of the SDK: it keeps the request and answers
// with what it holds.
type wireTap struct {
	request *http.Request
	body    []byte
	answer  *wire.Response
}

func (w *wireTap) Do(r *http.Request) (*http.Response, error) {
	w.request, w.body = r, nil
	if r.Body != nil {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		w.body = b
	}
	if w.answer == nil {
		return nil, errSent
	}
	var body io.ReadCloser = http.NoBody
	switch {
	case w.answer.Stream != nil:
		body = w.answer.Stream
	case len(w.answer.Body) > 0:
		body = io.NopCloser(bytes.NewReader(w.answer.Body))
	}
	return &http.Response{
		StatusCode: w.answer.Status, Header: w.answer.Header, Body: body, Request: r,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, ContentLength: int64(len(w.answer.Body)),
	}, nil
}

var errSent = errors.New("the request was taken, there is no answer")

// clients returns the SDK's clients, by our names of the services.
func clients(tap *wireTap) map[string]any {
	cfg := aws.Config{
		Region:       "eu-central-1",
		Credentials:  credentials.NewStaticCredentialsProvider("AKIAIOSFODNN7EXAMPLE", "secret", ""),
		HTTPClient:   tap,
		Retryer:      func() aws.Retryer { return aws.NopRetryer{} },
		BaseEndpoint: aws.String("https://sekisho.test"),

		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired,
	}
	return map[string]any{
		"cloudformation": cloudformation.NewFromConfig(cfg),
		"cloudtrail":     cloudtrail.NewFromConfig(cfg),
		"codecommit":     codecommit.NewFromConfig(cfg),
		"codepipeline":   codepipeline.NewFromConfig(cfg),
		"events":         eventbridge.NewFromConfig(cfg),
		"iam":            iam.NewFromConfig(cfg),
		"kms":            kms.NewFromConfig(cfg),
		"organizations":  organizations.NewFromConfig(cfg),
		"s3":             s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle, o.DisableS3ExpressSessionAuth = true, aws.Bool(true) }),
		"sts":            sts.NewFromConfig(cfg),
	}
}

// each runs a test for every operation that both we and the SDK have.
func each(t *testing.T, test func(t *testing.T, tap *wireTap, call method, op *wire.Op, m *wire.Model)) {
	tap := new(wireTap)
	all := clients(tap)
	count := 0
	for _, m := range apitest.Models() {
		s := wire.New(m)
		client := reflect.ValueOf(all[m.Name])
		for _, o := range m.Operations {
			name := m.Name + "/" + o.Name
			fn := client.MethodByName(o.Name)
			if !fn.IsValid() {
				if leftOut[name] == "" {
					t.Errorf("%s is not in the SDK", name)
				}
				continue
			}
			if leftOut[name] != "" {
				t.Errorf("%s is left out, but the SDK has it", name)
			}
			count++
			op, _ := s.Operation(o.Name)
			t.Run(name, func(t *testing.T) { test(t, tap, method{fn}, op, m) })
		}
	}
	if count < operations {
		t.Errorf("%d operations were carried, there were %d", count, operations)
	}
}

// method is one operation of an SDK client.
type method struct{ fn reflect.Value }

func (m method) newInput() reflect.Value { return reflect.New(m.fn.Type().In(1).Elem()) }

func (m method) call(in reflect.Value) (reflect.Value, error) {
	out := m.fn.Call([]reflect.Value{reflect.ValueOf(context.Background()), in})
	err, _ := out[1].Interface().(error)
	return out[0], err
}

// TestOperations names the operations that the SDK has and we have not.
func TestOperations(t *testing.T) {
	all := clients(new(wireTap))
	for _, m := range apitest.Models() {
		s := wire.New(m)
		client := reflect.TypeOf(all[m.Name])
		for i := range client.NumMethod() {
			fn := client.Method(i)
			if fn.Type.NumIn() != 4 || fn.Type.NumOut() != 2 {
				continue // no operation
			}
			name := m.Name + "/" + fn.Name
			if _, ok := s.Operation(fn.Name); ok == newerOperations[name] {
				t.Errorf("%s: in our models %v", name, ok)
			}
		}
	}
}

// newerOperations are the operations that the SDK has and the models of the
// pinned botocore have not yet.
var newerOperations = map[string]bool{
	"codecommit/GetBlobDifferences":                       true,
	"iam/AcquireRole":                                     true,
	"iam/GetAccountProperties":                            true,
	"iam/GetRoleTemplateVersion":                          true,
	"iam/PutAccountProperties":                            true,
	"kms/Decapsulate":                                     true,
	"kms/Encapsulate":                                     true,
	"s3/DeleteObjectAnnotation":                           true,
	"s3/GetObjectAnnotation":                              true,
	"s3/ListObjectAnnotations":                            true,
	"s3/PutObjectAnnotation":                              true,
	"s3/UpdateBucketMetadataAnnotationTableConfiguration": true,
}

// TestRequests sends every member of every input with the SDK and reads it
// with our codecs.
func TestRequests(t *testing.T) {
	each(t, func(t *testing.T, tap *wireTap, call method, op *wire.Op, m *wire.Model) {
		want := reflect.New(op.In)
		(&apitest.Sampler{Model: m}).Fill(want.Interface())
		in := call.newInput()
		var c converter
		c.toSDK(in.Elem(), want.Elem())
		for _, lost := range c.lost {
			t.Error(lost)
		}
		tap.answer = nil
		if _, err := call.call(in); !errors.Is(err, errSent) {
			t.Fatalf("the SDK sent nothing: %v", err)
		}
		got := decode(t, tap, op, m)
		if diff := cmp.Diff(want.Interface(), got, sameText); diff != "" {
			t.Errorf("(-sent +decoded):\n%s\n%s %s\n%.2000s", diff, tap.request.Method, tap.request.URL, tap.body)
		}
	})
}

// decode reads the request the tap holds as the gateway does.
func decode(t *testing.T, tap *wireTap, op *wire.Op, m *wire.Model) any {
	t.Helper()
	s := wire.New(m)
	if n := tap.request.ContentLength; n > 0 { // net/http takes it out, as at the server
		tap.request.Header.Set("Content-Length", strconv.FormatInt(n, 10))
	}
	r := &wire.Request{Method: tap.request.Method, Query: tap.request.URL.Query(), Header: tap.request.Header, Body: tap.body}
	found, err := find(s, r, tap.request)
	if err != nil {
		t.Fatalf("no operation for %s %s: %v", r.Method, tap.request.URL, err)
	}
	if found.Name != op.Name {
		t.Fatalf("%s %s is %s", r.Method, tap.request.URL, found.Name)
	}
	if found.Streams() {
		r.Stream, r.Body = stream{bytes.NewBuffer(tap.body)}, nil
	}
	got, err := found.DecodeRequest(r)
	if err != nil {
		t.Fatalf("decode: %v\n%.2000s", err, tap.body)
	}
	return got
}

func find(s *wire.Service, r *wire.Request, req *http.Request) (*wire.Op, error) {
	switch s.Protocol {
	case wire.JSON:
		return s.Target(req.Header.Get("X-Amz-Target"))
	case wire.Query:
		form, err := url.ParseQuery(string(r.Body))
		if err != nil {
			return nil, err
		}
		return s.Action(form)
	}
	r.Bucket, r.Key, _ = strings.Cut(strings.TrimPrefix(req.URL.Path, "/"), "/")
	return s.Route(r)
}

// TestResponses writes every member of every output with our codecs and
// reads it with the SDK.
func TestResponses(t *testing.T) {
	each(t, func(t *testing.T, tap *wireTap, call method, op *wire.Op, m *wire.Model) {
		if why := noOutput[m.Name+"/"+op.Name]; why != "" {
			t.Skip(why)
		}
		want := reflect.New(op.Out)
		(&apitest.Sampler{Model: m}).Fill(want.Interface())
		answer, err := op.EncodeResponse(want.Interface(), wire.Meta{RequestID: "id-1", HostID: "host-1"})
		if err != nil {
			t.Fatal(err)
		}
		tap.answer = answer
		out, err := call.call(minimal(call, op, m))
		if err != nil {
			t.Fatalf("the SDK: %v\n%.2000s", err, answer.Body)
		}
		var c converter
		c.toSDK(reflect.New(out.Type().Elem()).Elem(), want.Elem()) // notes members the SDK lacks
		for _, lost := range c.lost {
			t.Error(lost)
		}
		got := reflect.New(op.Out)
		c.fromSDK(got.Elem(), out.Elem())
		if diff := cmp.Diff(want.Interface(), got.Interface(), sameText); diff != "" {
			t.Errorf("(-written +read by the SDK):\n%s\n%.2000s", diff, answer.Body)
		}
	})
}

// minimal is an input with the required members only.
func minimal(call method, op *wire.Op, m *wire.Model) reflect.Value {
	in := reflect.New(op.In)
	(&apitest.Sampler{Model: m, Only: required}).Fill(in.Interface())
	sdk := call.newInput()
	new(converter).toSDK(sdk.Elem(), in.Elem())
	return sdk
}

func required(_ reflect.Type, f reflect.StructField) bool {
	return strings.Contains(f.Tag.Get("aws")+",", ",required,")
}

// TestErrors writes every error that operations name, and the SDK reads its
// own type with code and message.
func TestErrors(t *testing.T) {
	errorsSeen := 0
	each(t, func(t *testing.T, tap *wireTap, call method, op *wire.Op, m *wire.Model) {
		s := wire.New(m)
		for _, code := range op.Errors {
			errorsSeen++
			e := ours.Errorf(code, "what went wrong with %s <&>", op.Name)
			tap.answer = s.EncodeError(e, wire.Meta{RequestID: "id-1", HostID: "host-1", Head: op.Method == http.MethodHead})
			_, err := call.call(minimal(call, op, m))
			var api smithy.APIError
			if !errors.As(err, &api) {
				t.Errorf("%s: the SDK read %v\n%s", code, err, tap.answer.Body)
				continue
			}
			if op.Method == http.MethodHead {
				if api.ErrorCode() != "NotFound" {
					t.Errorf("HEAD: code %s", api.ErrorCode())
				}
				continue // the code is in a body, and HEAD has none
			}
			message := e.Message
			if mute[m.Name+"/"+code] {
				message = ""
			}
			if api.ErrorCode() != code || api.ErrorMessage() != message {
				t.Errorf("%s: the SDK read %s: %s", code, api.ErrorCode(), api.ErrorMessage())
			}
			if _, generic := api.(*smithy.GenericAPIError); generic {
				t.Errorf("%s has no type in the SDK's eyes", code)
			}
		}
	})
	if errorsSeen < modelledErrors {
		t.Errorf("%d errors were carried, there were %d", errorsSeen, modelledErrors)
	}
}

// sameText compares streams by what they hold; all of them can tell.
var sameText = cmp.Comparer(func(a, b io.Reader) bool { return fmt.Sprint(a) == fmt.Sprint(b) })
