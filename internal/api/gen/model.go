package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// model is a botocore service model, as far as the generator reads it.
type model struct {
	Metadata struct {
		APIVersion     string `json:"apiVersion"`
		EndpointPrefix string `json:"endpointPrefix"`
		Protocol       string `json:"protocol"`
		SigningName    string `json:"signingName"`
		TargetPrefix   string `json:"targetPrefix"`
		XMLNamespace   string `json:"xmlNamespace"`
	} `json:"metadata"`
	Operations map[string]*operation `json:"operations"`
	Shapes     map[string]*shape     `json:"shapes"`
}

type operation struct {
	Name string `json:"name"`
	HTTP struct {
		Method       string `json:"method"`
		RequestURI   string `json:"requestUri"`
		ResponseCode int    `json:"responseCode"`
	} `json:"http"`
	Input      *ref  `json:"input"`
	Output     *ref  `json:"output"`
	Errors     []ref `json:"errors"`
	Deprecated bool  `json:"deprecated"`
}

// ref is a use of a shape, with the traits of that use.
type ref struct {
	Shape            string        `json:"shape"`
	Location         string        `json:"location"`
	LocationName     string        `json:"locationName"`
	ResultWrapper    string        `json:"resultWrapper"`
	XMLNamespace     *xmlNamespace `json:"xmlNamespace"`
	XMLAttribute     bool          `json:"xmlAttribute"`
	Flattened        bool          `json:"flattened"`
	Streaming        bool          `json:"streaming"`
	IdempotencyToken bool          `json:"idempotencyToken"`
	JSONValue        bool          `json:"jsonvalue"`
	HostLabel        bool          `json:"hostLabel"`
	TimestampFormat  string        `json:"timestampFormat"`
}

type shape struct {
	Type            string        `json:"type"`
	Members         members       `json:"members"`
	Required        []string      `json:"required"`
	Member          *ref          `json:"member"`
	Key             *ref          `json:"key"`
	Value           *ref          `json:"value"`
	Enum            []string      `json:"enum"`
	Min             *float64      `json:"min"`
	Max             *float64      `json:"max"`
	Pattern         string        `json:"pattern"`
	Payload         string        `json:"payload"`
	Flattened       bool          `json:"flattened"`
	Sensitive       bool          `json:"sensitive"`
	Streaming       bool          `json:"streaming"`
	EventStream     bool          `json:"eventstream"`
	Exception       bool          `json:"exception"`
	LocationName    string        `json:"locationName"`
	XMLNamespace    *xmlNamespace `json:"xmlNamespace"`
	TimestampFormat string        `json:"timestampFormat"`
	Error           struct {
		Code           string `json:"code"`
		HTTPStatusCode int    `json:"httpStatusCode"`
	} `json:"error"`
}

// member is one member of a structure.
type member struct {
	Name string
	ref
}

// members keeps the order in which the model lists the members: the order of
// XML elements and of struct fields.
type members []member

// UnmarshalJSON reads a JSON object in its order.
func (m *members) UnmarshalJSON(data []byte) error {
	d := json.NewDecoder(bytes.NewReader(data))
	if _, err := d.Token(); err != nil {
		return err
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return err
		}
		one := member{Name: name.(string)}
		if err := d.Decode(&one.ref); err != nil {
			return fmt.Errorf("member %s: %w", one.Name, err)
		}
		*m = append(*m, one)
	}
	return nil
}

// xmlNamespace is written as a plain string or as an object, depending on
// where it stands.
type xmlNamespace struct{ URI, Prefix string }

// UnmarshalJSON reads either form.
func (n *xmlNamespace) UnmarshalJSON(data []byte) error {
	if json.Unmarshal(data, &n.URI) == nil {
		return nil
	}
	var long struct{ URI, Prefix string }
	if err := json.Unmarshal(data, &long); err != nil {
		return err
	}
	*n = xmlNamespace(long)
	return nil
}

// readModel reads the newest service-2.json of a service below botocore's
// data directory.
func readModel(data, service string) (*model, error) {
	found, err := filepath.Glob(filepath.Join(data, service, "*", "service-2.json*"))
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no model of %s below %s", service, data)
	}
	text, err := readMaybeGzip(found[len(found)-1]) // sorted: versions are dates
	if err != nil {
		return nil, err
	}
	m := new(model)
	if err := json.Unmarshal(text, m); err != nil {
		return nil, fmt.Errorf("model of %s: %w", service, err)
	}
	return m, nil
}

func readMaybeGzip(file string) ([]byte, error) {
	if !strings.HasSuffix(file, ".gz") {
		return os.ReadFile(file)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}
