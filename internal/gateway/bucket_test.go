package gateway

import "testing"

func TestSplitBucket(t *testing.T) {
	for _, tt := range []struct{ host, path, bucket, key string }{
		{"127.0.0.1:4566", "/b1/k", "b1", "k"},
		{"127.0.0.1:4566", "/", "", ""},
		{"127.0.0.1:4566", "/b1", "b1", ""},
		{"127.0.0.1:4566", "/b1/", "b1", ""},
		{"127.0.0.1:4566", "/b1//x/", "b1", "/x/"},
		{"[::1]:4566", "/b1/k", "b1", "k"},
		{"localhost:4566", "/b1/k", "b1", "k"},
		{"sekisho.corp", "/b1/k", "b1", "k"},
		{"mine.localhost:4566", "/k%20x", "mine", "k%20x"},
		{"my.dotted.localhost", "/k", "my.dotted", "k"},
		{"s3.localhost:4566", "/b1/k", "b1", "k"},
		{"s3.us-east-1.localhost", "/b1/k", "b1", "k"},
		{"mine.s3.localhost:4566", "/k", "mine", "k"},
		{"mine.s3.eu-west-1.localhost", "/k", "mine", "k"},
		{"mine.s3.sekisho.corp", "/k", "mine", "k"},
		{"mine.s3.eu-central-1.amazonaws.com", "/k/l", "mine", "k/l"},
		{"mine.s3-eu-central-1.amazonaws.com", "/k", "mine", "k"},
		{"my.dotted.s3.amazonaws.com", "/k", "my.dotted", "k"},
		{"s3.amazonaws.com", "/b1/k", "b1", "k"},
		{"s3.eu-central-1.amazonaws.com", "/b1/k", "b1", "k"},
		{"kms.us-east-1.localhost", "/", "", ""},
	} {
		if b, k := splitBucket(tt.host, tt.path); b != tt.bucket || k != tt.key {
			t.Errorf("splitBucket(%q, %q) = %q, %q, want %q, %q", tt.host, tt.path, b, k, tt.bucket, tt.key)
		}
	}
}
