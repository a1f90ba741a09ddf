package events

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/sekisho/sekisho/internal/aws"
)

var shapeEvent = aws.Event{
	ID: "id-1", Account: "111111111111", Region: "us-east-1", Source: "shop", DetailType: "order", Resources: []string{"arn:a", "arn:b"},
	Time:   time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	Detail: json.RawMessage(`{"state":"on","count":3,"flag":true,"none":null,"list":[{"n":"x"},{"n":"y"}],"odd":"a \"b\"\n<c>","big":12345678901234567890}`),
}

func TestShape(t *testing.T) {
	paths := map[string]string{
		"state": "$.detail.state", "count": "$.detail.count", "list": "$.detail.list", "second": "$.detail.list[1].n",
		"odd": "$.detail.odd", "gone": "$.detail.nothing", "flag": "$.detail.flag", "none": "$.detail.none", "big": "$.detail.big",
		"type": "$.detail-type", "arn": "$.resources[0]",
	}
	envelope := `{"version":"0","id":"id-1","detail-type":"order","source":"shop","account":"111111111111","time":"2026-01-02T03:04:05Z","region":"us-east-1","resources":["arn:a","arn:b"]`
	for _, tt := range []struct{ name, template, want string }{
		{"values", `{"s":<state>,"c":<count>,"l":<list>,"f":<flag>,"n":<none>}`, `{"s":"on","c":3,"l":[{"n":"x"},{"n":"y"}],"f":true,"n":null}`},
		{"inside quotes", `{"s":"it is <state>, <count> times, <flag>","a":"<arn>"}`, `{"s":"it is on, 3 times, true","a":"arn:a"}`},
		{"object inside quotes", `{"l":"<list>"}`, `{"l":"[{\"n\":\"x\"},{\"n\":\"y\"}]"}`},
		{"odd text", `{"o":<odd>,"q":"<odd>"}`, `{"o":"a \"b\"\n\u003cc\u003e","q":"a \"b\"\n<c>"}`},
		{"escaped quotes", `{"i":"instance \"<arn>\" is <state>"}`, `{"i":"instance \"arn:a\" is on"}`},
		{"absent", `{"g":<gone>,"q":"-<gone>-"}`, `{"g":"","q":"--"}`},
		{"numbers stay", `<big>`, `12345678901234567890`},
		{"string", `"<type> of <second>"`, `"order of y"`},
		{"lines", "\"one <state>\"\n\"two\"", `"one on\ntwo"`},
		{"rule", `{"a":<aws.events.rule-arn>,"n":"<aws.events.rule-name>"}`, `{"a":"arn:aws:events:us-east-1:111111111111:rule/bus/r","n":"r"}`},
		{"ingestion", `<aws.events.event.ingestion-time>`, `"2026-01-02T03:04:06Z"`},
		{"event", `{"e":<aws.events.event>}`, `{"e":` + envelope + `}}`},
		{"no placeholder", `{"a":"x < y"}`, `{"a":"x < y"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := delivery{RuleARN: "arn:aws:events:us-east-1:111111111111:rule/bus/r", Event: shapeEvent, Ingested: shapeEvent.Time.Add(time.Second), Target: target{ID: "t", Paths: paths, Template: tt.template}}
			if err := d.Target.checkTemplate(); err != nil {
				t.Fatal(err)
			}
			got, shaped, err := d.shape()
			if err != nil || !shaped {
				t.Fatal(shaped, err)
			}
			if string(got) != tt.want {
				t.Errorf("shape\n got %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestInputPath(t *testing.T) {
	for _, tt := range []struct{ path, want string }{
		{"$.detail.list[0]", `{"n":"x"}`},
		{"$.detail.state", `"on"`},
		{"$.detail.nothing.more", ``},
		{"$.resources[7]", ``},
	} {
		d := delivery{Event: shapeEvent, Target: target{InputPath: tt.path}}
		got, _, err := d.shape()
		if err != nil || string(got) != tt.want {
			t.Errorf("%s = %s, %v, want %s", tt.path, got, err, tt.want)
		}
	}
	for _, bad := range []string{"", "detail", "$detail", "$.", "$.a[", "$.a[x]", "$['a']", "$..a"} {
		if _, ok := parsePath(bad); ok {
			t.Errorf("path %q is valid", bad)
		}
	}
}

func FuzzShape(f *testing.F) {
	f.Add(`{"s":<state>,"q":"<state>\"<x>"}`, "$.detail.state")
	f.Add("\"a\"\n\"<state>\"", "$.detail.list[0].n")
	f.Fuzz(func(t *testing.T, template, path string) {
		d := delivery{Event: shapeEvent, Target: target{ID: "t", Paths: map[string]string{"state": path}, Template: template}}
		if template == "" || d.Target.checkTemplate() != nil {
			return
		}
		text, _, err := d.shape()
		if err == nil && !json.Valid(text) {
			t.Errorf("template %q with %q gives %s", template, path, text)
		}
	})
}

func TestPause(t *testing.T) {
	for failed := range int64(200) {
		if p := pause(failed); p <= 0 || p > longestPause {
			t.Errorf("pause(%d) = %s", failed, p)
		}
	}
}
