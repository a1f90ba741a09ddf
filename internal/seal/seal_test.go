package seal

import (
	"bytes"
	"encoding/base64"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"text/template"
)

const plain = "squeamish ossifrage"

// holder has a secret in every place it is likely to stand in when something prints
// what surrounds it.
type holder struct {
	Name   string
	Secret Secret
	Ptr    *Secret
	List   []Secret
	Map    map[string]Secret
	Any    any
	hidden Secret
	inner  struct{ deep Secret }
}

func newHolder() *holder {
	s := NewSecret([]byte(plain))
	h := &holder{Name: "n", Secret: s, Ptr: &s, List: []Secret{s}, Map: map[string]Secret{"k": s}, Any: s, hidden: s}
	h.inner.deep = s
	return h
}

// revealing are the forms in which the value could be seen.
func revealing() []string {
	var decimals []string
	for _, b := range []byte(plain) {
		decimals = append(decimals, fmt.Sprint(b))
	}
	return []string{
		plain, "squeamish",
		hex.EncodeToString([]byte(plain)), strings.ToUpper(hex.EncodeToString([]byte(plain))),
		base64.StdEncoding.EncodeToString([]byte(plain)), base64.RawStdEncoding.EncodeToString([]byte(plain))[:16],
		strings.Join(decimals[:4], " "), strings.Join(decimals[:4], ", "), strings.Join(decimals[:4], ","), "0x73, 0x71",
	}
}

func checkHidden(t *testing.T, how, text string) {
	t.Helper()
	for _, r := range revealing() {
		if strings.Contains(text, r) {
			t.Errorf("%s shows the secret: %s", how, text)
		}
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	h := newHolder()
	values := map[string]any{"secret": h.Secret, "pointer": h.Ptr, "holder": *h, "holder pointer": h, "list": h.List, "map": h.Map}
	for name, v := range values {
		for _, verb := range "vsqxXdobcUeEfFgGpTtw" {
			for _, flags := range []string{"", "+", "#", " ", "0", "-20", ".3", "20.10"} {
				format := "%" + flags + string(verb)
				checkHidden(t, name+" "+format, fmt.Sprintf(format, v))
			}
		}
		checkHidden(t, name+" Print", fmt.Sprint(v)+fmt.Sprintln(v))
		checkHidden(t, name+" error", fmt.Errorf("it is %v", v).Error())
	}
	if got := fmt.Sprint(h.Secret); got != "[secret]" {
		t.Errorf("prints %q", got)
	}
}

func TestSecretsDoNotEncode(t *testing.T) {
	h := newHolder()
	for name, v := range map[string]any{"secret": h.Secret, "holder": h, "map": h.Map} {
		text, err := json.Marshal(v)
		if err != nil || !strings.Contains(string(text), "[secret]") {
			t.Errorf("json of %s: %s %v", name, text, err)
		}
		checkHidden(t, "json of "+name, string(text))
	}
	type element struct {
		Secret Secret
		Attr   Secret `xml:"attr,attr"`
	}
	text, err := xml.Marshal(element{h.Secret, h.Secret})
	if err != nil || strings.Count(string(text), "[secret]") != 2 {
		t.Errorf("xml: %s %v", text, err)
	}
	checkHidden(t, "xml", string(text))
	var b bytes.Buffer
	_ = gob.NewEncoder(&b).Encode(h.Secret) // refuses, or shows nothing
	checkHidden(t, "gob", b.String())
	b.Reset()
	_ = gob.NewEncoder(&b).Encode(struct {
		Name   string
		Secret Secret
	}{"n", h.Secret})
	checkHidden(t, "gob of a struct", b.String())
}

func TestSecretsDoNotLog(t *testing.T) {
	h := newHolder()
	var b bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewTextHandler(&b, nil), slog.NewJSONHandler(&b, nil)} {
		l := slog.New(handler)
		l.Info("m", "secret", h.Secret, "pointer", h.Ptr, "holder", h, "value", *h, "list", h.List)
		l.With("secret", h.Secret).WithGroup("g").Info("m", slog.Any("holder", *h))
	}
	log.New(&b, "", 0).Println(h, *h, h.Secret)
	if err := template.Must(template.New("").Parse("{{.}} {{.Secret}} {{.List}}")).Execute(&b, h); err != nil {
		t.Fatal(err)
	}
	checkHidden(t, "a log", b.String())
}

// Reflection finds an address, never bytes without following it on purpose.
func TestSecretsUnderReflection(t *testing.T) {
	v := reflect.ValueOf(NewSecret([]byte(plain)))
	for i := range v.NumField() {
		checkHidden(t, "reflect", fmt.Sprintf("%v %+v %#v", v.Field(i), v.Field(i), v.Field(i)))
		if v.Field(i).CanInterface() {
			t.Error("a field of Secret can be read from outside")
		}
	}
}

func TestSecretEqual(t *testing.T) {
	in := []byte(plain)
	s := NewSecret(in)
	in[0] = 'X'
	if !s.Equal([]byte(plain)) {
		t.Error("the secret is not a copy")
	}
	if s.Equal([]byte("other")) || s.Equal(nil) || s.Equal([]byte(plain[:5])) {
		t.Error("equal to something else")
	}
	var zero Secret
	if zero.Equal(nil) || zero.Equal([]byte{}) || zero.Reveal() != nil {
		t.Error("the zero secret equals something")
	}
	if got := fmt.Sprint(zero); got != "[secret]" {
		t.Errorf("the zero secret prints %q", got)
	}
}

func TestMasterIsMadeOnce(t *testing.T) {
	t.Setenv(MasterEnv, "")
	file := filepath.Join(t.TempDir(), "master.key")
	first, err := LoadMaster(file)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %o", info.Mode().Perm())
	}
	if rest, _ := filepath.Glob(filepath.Join(filepath.Dir(file), ".new-*")); len(rest) > 0 {
		t.Errorf("left behind: %v", rest)
	}
	second, err := LoadMaster(file)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := second.For("p").Open(first.For("p").Seal([]byte(plain), nil), nil)
	if err != nil || string(opened) != plain {
		t.Errorf("the key read again opens %q, %v", opened, err)
	}
	checkHidden(t, "master", fmt.Sprintf("%v %+v %#v", first, *first, *first))
}

func TestMasterFromEnvironment(t *testing.T) {
	key := bytes.Repeat([]byte{7}, KeySize)
	t.Setenv(MasterEnv, " "+base64.StdEncoding.EncodeToString(key)+"\n")
	file := filepath.Join(t.TempDir(), "master.key")
	m, err := LoadMaster(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Error("a file was written beside the environment's key")
	}
	same, err := NewMaster(key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := same.For("p").Open(m.For("p").Seal(nil, nil), nil); err != nil {
		t.Error(err)
	}
}

func TestBadMasterKeys(t *testing.T) {
	short := base64.StdEncoding.EncodeToString([]byte(plain))
	for name, text := range map[string]string{
		"no base64": "not base64!", "too short": short, "too long": base64.StdEncoding.EncodeToString(make([]byte, 33)), "raw": strings.Repeat("k", 32),
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(MasterEnv, text)
			if _, err := LoadMaster(filepath.Join(t.TempDir(), "k")); err == nil {
				t.Error("taken from the environment")
			} else if strings.Contains(err.Error(), text) {
				t.Errorf("the error shows the key: %v", err)
			}
			t.Setenv(MasterEnv, "")
			file := filepath.Join(t.TempDir(), "k")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := LoadMaster(file); err == nil {
				t.Error("taken from a file")
			}
			if after, _ := os.ReadFile(file); string(after) != text {
				t.Error("the file was changed")
			}
		})
	}
	t.Setenv(MasterEnv, "")
	if _, err := LoadMaster(filepath.Join(t.TempDir(), "no", "such", "k")); err == nil {
		t.Error("a key without a place to keep it")
	}
	empty := filepath.Join(t.TempDir(), "k")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadMaster(empty); err == nil {
		t.Error("an empty file is a key")
	}
}

func TestBoxesOfOtherPurposes(t *testing.T) {
	one, err := NewMaster(bytes.Repeat([]byte{1}, KeySize))
	if err != nil {
		t.Fatal(err)
	}
	two, err := NewMaster(bytes.Repeat([]byte{2}, KeySize))
	if err != nil {
		t.Fatal(err)
	}
	sealed := one.For("a").Seal([]byte(plain), []byte("bound"))
	if got, err := one.For("a").Open(sealed, []byte("bound")); err != nil || string(got) != plain {
		t.Fatalf("%q, %v", got, err)
	}
	for name, open := range map[string]func() ([]byte, error){
		"another purpose":    func() ([]byte, error) { return one.For("b").Open(sealed, []byte("bound")) },
		"another master key": func() ([]byte, error) { return two.For("a").Open(sealed, []byte("bound")) },
		"another bound":      func() ([]byte, error) { return one.For("a").Open(sealed, []byte("other")) },
		"no bound":           func() ([]byte, error) { return one.For("a").Open(sealed, nil) },
		"nothing":            func() ([]byte, error) { return one.For("a").Open(nil, nil) },
		"too short":          func() ([]byte, error) { return one.For("a").Open(sealed[:10], []byte("bound")) },
	} {
		if got, err := open(); !errors.Is(err, ErrBroken) || got != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if bytes.Equal(sealed, one.For("a").Seal([]byte(plain), []byte("bound"))) {
		t.Error("the same text is sealed to the same bytes twice")
	}
}

func TestTampering(t *testing.T) {
	b, err := NewBox(make([]byte, KeySize))
	if err != nil {
		t.Fatal(err)
	}
	sealed := b.Seal([]byte(plain), nil)
	for i := range sealed {
		bent := bytes.Clone(sealed)
		bent[i] ^= 1
		if _, err := b.Open(bent, nil); !errors.Is(err, ErrBroken) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
	}
	for i := range sealed {
		if _, err := b.Open(sealed[:i], nil); !errors.Is(err, ErrBroken) {
			t.Fatalf("cut at %d: %v", i, err)
		}
	}
	for _, n := range []int{0, 16, 24, 31, 33} {
		if _, err := NewBox(make([]byte, n)); err == nil {
			t.Errorf("a key of %d bytes", n)
		}
	}
}

func TestWriteFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	for _, tt := range []struct {
		text string
		mode os.FileMode
	}{{"one", 0o600}, {"two", 0o644}, {"", 0o600}} {
		if err := WriteFile(name, []byte(tt.text), tt.mode); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(name)
		if err != nil || string(got) != tt.text || info.Mode().Perm() != tt.mode {
			t.Errorf("%q, %v, mode %o", got, err, info.Mode().Perm())
		}
	}
	if rest, _ := os.ReadDir(filepath.Dir(name)); len(rest) != 1 {
		t.Errorf("left behind: %v", rest)
	}
	if err := WriteFile(filepath.Join(name, "x"), nil, 0o600); err == nil {
		t.Error("written below a file")
	}
}
