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

func TestWebsiteBucket(t *testing.T) {
	for host, want := range map[string]string{
		"shop.s3-website.localhost:4566":               "shop",
		"shop.s3-website-eu-west-1.localhost":          "shop",
		"shop.s3-website.eu-central-1.amazonaws.com":   "shop",
		"shop.s3-website-us-east-1.amazonaws.com":      "shop",
		"WWW.example.com.s3-website.eu-west-1.aws.dev": "www.example.com",
		"shop.s3.localhost":                            "",
		"s3-website.localhost":                         "",
		"shop.localhost":                               "",
		"-.s3-website.localhost":                       "",
		"127.0.0.1:4566":                               "",
	} {
		if got, _ := websiteBucket(host); got != want {
			t.Errorf("websiteBucket(%s) = %q, want %q", host, got, want)
		}
	}
}

func TestWild(t *testing.T) {
	for _, tt := range []struct {
		pattern, text string
		want          bool
	}{
		{"*", "", true}, {"a*b", "ab", true}, {"a*b", "axxb", true}, {"ab*ba", "aba", false}, {"a", "a", true}, {"a", "b", false},
		{"https://*.example.com", "https://app.example.com", true}, {"https://*.example.com", "http://app.example.com", false},
	} {
		if got := wild(tt.pattern, tt.text); got != tt.want {
			t.Errorf("wild(%s, %s) = %v", tt.pattern, tt.text, got)
		}
	}
}
