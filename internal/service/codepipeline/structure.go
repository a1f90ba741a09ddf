package codepipeline

import (
	"fmt"
	"slices"
	"strings"

	api "github.com/sekisho/sekisho/internal/api/codepipeline"
	"github.com/sekisho/sekisho/internal/aws"
)

func invalidStructure(format string, args ...any) *aws.Error {
	return aws.Errorf("InvalidStructureException", format, args...)
}

func invalidStage(format string, args ...any) *aws.Error {
	return aws.Errorf("InvalidStageDeclarationException", format, args...)
}

func invalidAction(format string, args ...any) *aws.Error {
	return aws.Errorf("InvalidActionDeclarationException", format, args...)
}

// maxActions is AWS's quota of actions in one pipeline.
const maxActions = 500

// check refuses a declaration that AWS refuses, with AWS's words where they
// are known, and one that asks for what sekisho does not have, by name.
func (s *Service) check(p ref, d *api.PipelineDeclaration) error {
	for _, rule := range []func(ref, *api.PipelineDeclaration) error{
		checkMode, checkVariables, checkStores, checkStages, s.checkActions, checkArtifacts, checkNamespaces, checkReferences,
	} {
		if err := rule(p, d); err != nil {
			return err
		}
	}
	return nil
}

// defaults writes the defaults into a declaration, as AWS returns it.
func defaults(d *api.PipelineDeclaration) {
	if d.PipelineType == "" {
		d.PipelineType = "V1"
	}
	if d.ExecutionMode == "" {
		d.ExecutionMode = superseded
	}
	for i := range d.Stages {
		for j := range d.Stages[i].Actions {
			a := &d.Stages[i].Actions[j]
			if a.RunOrder == nil {
				a.RunOrder = new(int64(1))
			}
			if a.Configuration == nil {
				a.Configuration = map[string]string{}
			}
			if a.InputArtifacts == nil {
				a.InputArtifacts = []api.InputArtifact{}
			}
			if a.OutputArtifacts == nil {
				a.OutputArtifacts = []api.OutputArtifact{}
			}
		}
	}
}

func checkMode(_ ref, d *api.PipelineDeclaration) error {
	if d.PipelineType == "V2" {
		if len(d.Triggers) > 0 {
			return invalidStructure("Pipeline triggers need a source action of provider CodeStarSourceConnection, which sekisho does not implement")
		}
		return nil
	}
	switch {
	case d.ExecutionMode != superseded:
		return invalidStructure("Execution mode %s is not supported for pipeline type V1; use pipeline type V2", d.ExecutionMode)
	case len(d.Variables) > 0:
		return invalidStructure("Pipeline variables are not supported for pipeline type V1; use pipeline type V2")
	case len(d.Triggers) > 0:
		return invalidStructure("Pipeline triggers are not supported for pipeline type V1; use pipeline type V2")
	}
	return nil
}

func checkVariables(_ ref, d *api.PipelineDeclaration) error {
	seen := map[string]bool{}
	for _, v := range d.Variables {
		if seen[v.Name] {
			return invalidStructure("Pipeline variable name %s is not unique", v.Name)
		}
		seen[v.Name] = true
	}
	return nil
}

func checkStores(p ref, d *api.PipelineDeclaration) error {
	switch {
	case d.ArtifactStore == nil && len(d.ArtifactStores) == 0:
		return invalidStructure("Pipeline must declare exactly one of artifactStore and artifactStores")
	case d.ArtifactStore != nil && len(d.ArtifactStores) > 0:
		return invalidStructure("Pipeline must declare exactly one of artifactStore and artifactStores, not both")
	case d.ArtifactStore != nil:
		for _, s := range d.Stages {
			for _, a := range s.Actions {
				if a.Region != "" && a.Region != p.Region {
					return invalidStructure("Action %s is in region %s: a pipeline with cross-region actions must use artifactStores", a.Name, a.Region)
				}
			}
		}
		return nil
	}
	need := []string{p.Region}
	for _, s := range d.Stages {
		for _, a := range s.Actions {
			if a.Region != "" {
				need = append(need, a.Region)
			}
		}
	}
	for _, region := range need {
		if _, ok := d.ArtifactStores[region]; !ok {
			return invalidStructure("artifactStores has no artifact store for region %s", region)
		}
	}
	return nil
}

func checkStages(_ ref, d *api.PipelineDeclaration) error {
	if len(d.Stages) < 2 {
		return invalidStructure("Pipeline has only %d stage(s). There should be a minimum of 2 stages in a pipeline", len(d.Stages))
	}
	if len(d.Stages) > 50 {
		return aws.Errorf("LimitExceededException", "Pipeline has %d stages. There should be a maximum of 50 stages in a pipeline", len(d.Stages))
	}
	names, total := map[string]bool{}, 0
	for i, s := range d.Stages {
		if names[s.Name] {
			return invalidStage("Stage name %s is not unique within the pipeline", s.Name)
		}
		names[s.Name] = true
		if len(s.Actions) == 0 {
			return invalidStage("Stage %s has no actions. There should be a minimum of 1 action in a stage", s.Name)
		}
		if len(s.Actions) > 50 {
			return aws.Errorf("LimitExceededException", "Stage %s has %d actions. There should be a maximum of 50 actions in a stage", s.Name, len(s.Actions))
		}
		if total += len(s.Actions); total > maxActions {
			return aws.Errorf("LimitExceededException", "Pipeline has more than %d actions", maxActions)
		}
		if len(s.Blockers) > 0 {
			return aws.Errorf("InvalidBlockerDeclarationException", "Stage %s declares blockers, which are reserved for future use", s.Name)
		}
		if s.BeforeEntry != nil || s.OnSuccess != nil || s.OnFailure != nil {
			return invalidStage("Stage %s declares conditions (beforeEntry, onSuccess or onFailure), which sekisho does not implement", s.Name)
		}
		if err := checkSources(i, &s); err != nil {
			return err
		}
	}
	return nil
}

func checkSources(index int, s *api.StageDeclaration) error {
	actions := map[string]bool{}
	for _, a := range s.Actions {
		if a.ActionTypeId == nil {
			return invalidAction("Action %s in stage %s has no actionTypeId", a.Name, s.Name)
		}
		if actions[a.Name] {
			return invalidAction("Action name %s is not unique within the stage %s", a.Name, s.Name)
		}
		actions[a.Name] = true
		source := a.ActionTypeId.Category == "Source"
		if index == 0 && !source {
			return invalidStructure("Pipeline should start with a stage that only contains source actions")
		}
		if index > 0 && source {
			return invalidStructure("Source action %s is in stage %s: only the first stage of a pipeline may contain source actions", a.Name, s.Name)
		}
	}
	return nil
}

// checkActions checks each action against its type.
func (s *Service) checkActions(p ref, d *api.PipelineDeclaration) error {
	for i := range d.Stages {
		for j := range d.Stages[i].Actions {
			if err := s.checkAction(p, d, &d.Stages[i].Actions[j]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Service) checkAction(p ref, d *api.PipelineDeclaration, a *api.ActionDeclaration) error {
	t := a.ActionTypeId
	if a.RoleArn != "" && t.Owner != "AWS" {
		return invalidAction("Action %s with owner %s contains roleArn. Role ARN is not supported for actions with owner other than 'AWS'", a.Name, t.Owner)
	}
	kind, ok := s.providers[providerKey{t.Category, t.Owner, t.Provider, t.Version}]
	if !ok {
		return invalidAction("ActionType (Category: '%s', Provider: '%s', Owner: '%s', Version: '%s') in action '%s' is not implemented by sekisho",
			t.Category, t.Provider, t.Owner, t.Version, a.Name)
	}
	b := kind.bounds()
	if n := len(a.InputArtifacts); n < b.minIn || n > b.maxIn {
		return invalidAction("Action %s has %d input artifacts; an action of provider %s has %s", a.Name, n, t.Provider, between(b.minIn, b.maxIn))
	}
	if n := len(a.OutputArtifacts); n < b.minOut || n > b.maxOut {
		return invalidAction("Action %s has %d output artifacts; an action of provider %s has %s", a.Name, n, t.Provider, between(b.minOut, b.maxOut))
	}
	for _, o := range a.OutputArtifacts {
		if len(o.Files) > 0 {
			return invalidAction("Output artifact %s of action %s names files, which only actions of category Compute have; they are not implemented by sekisho", o.Name, a.Name)
		}
	}
	if t.Category == "Source" && a.Region != "" && a.Region != p.Region {
		return invalidAction("Action %s is a source action: it must be in the pipeline's region %s", a.Name, p.Region)
	}
	if a.TimeoutInMinutes != nil && t.Category != "Approval" {
		return invalidAction("Action %s of category %s does not support timeoutInMinutes", a.Name, t.Category)
	}
	if len(a.Commands)+len(a.OutputVariables)+len(a.EnvironmentVariables) > 0 {
		return invalidAction("Action %s of provider %s does not support commands, outputVariables or environmentVariables", a.Name, t.Provider)
	}
	return checkConfiguration(a, kind.keys())
}

// between words a bound of artifacts.
func between(low, high int) string {
	if low == high {
		return fmt.Sprint(low)
	}
	return fmt.Sprintf("%d to %d", low, high)
}

// configKey is one key of an action's configuration.
type configKey struct {
	name     string
	required bool
	// values are those allowed; none means any. A value with a variable in it
	// is judged when it is known.
	values []string
	// refuse are values AWS has and sekisho has not.
	refuse map[string]string
	// never says why sekisho does not take the key at all.
	never string
}

func checkConfiguration(a *api.ActionDeclaration, keys []configKey) error {
	for _, k := range keys {
		v, ok := a.Configuration[k.name]
		if k.required && v == "" {
			return invalidAction("Action configuration for action '%s' is missing required configuration '%s'", a.Name, k.name)
		}
		if !ok {
			continue
		}
		if k.never != "" {
			return invalidAction("Action configuration for action '%s': %s", a.Name, k.never)
		}
		if why, bad := k.refuse[v]; bad {
			return invalidAction("Action configuration for action '%s': %s", a.Name, why)
		}
		if len(k.values) > 0 && !slices.Contains(k.values, v) && !strings.Contains(v, "#{") {
			return invalidAction("Action configuration for action '%s' has an invalid value '%s' for '%s'; it must be one of %s",
				a.Name, v, k.name, strings.Join(k.values, ", "))
		}
	}
	for name := range a.Configuration {
		if !slices.ContainsFunc(keys, func(k configKey) bool { return k.name == name }) {
			return invalidAction("Action configuration for action '%s' contains unknown configuration '%s'", a.Name, name)
		}
	}
	if a.ActionTypeId.Provider == "S3" && a.ActionTypeId.Category == "Deploy" &&
		a.Configuration["Extract"] == "false" && a.Configuration["ObjectKey"] == "" {
		return invalidAction("Action configuration for action '%s' is missing required configuration 'ObjectKey' when Extract is set to false", a.Name)
	}
	return nil
}

// checkArtifacts follows artifacts from the actions that make them to those
// that take them.
func checkArtifacts(_ ref, d *api.PipelineDeclaration) error {
	made := map[string]bool{}
	for _, s := range d.Stages {
		actions := slices.Clone(s.Actions)
		slices.SortStableFunc(actions, func(a, b api.ActionDeclaration) int { return int(runOrder(&a) - runOrder(&b)) })
		for len(actions) > 0 {
			group := 1
			for group < len(actions) && runOrder(&actions[group]) == runOrder(&actions[0]) {
				group++
			}
			for _, a := range actions[:group] {
				for _, in := range a.InputArtifacts {
					if !made[in.Name] {
						return invalidAction("Input Artifact Bundle %s in action %s is not declared as Output Artifact Bundle in any of the preceding actions", in.Name, a.Name)
					}
				}
			}
			for _, a := range actions[:group] {
				for _, out := range a.OutputArtifacts {
					if made[out.Name] {
						return invalidAction("Output Artifact Bundle name must be unique within the pipeline. %s has been used more than once.", out.Name)
					}
					made[out.Name] = true
				}
			}
			actions = actions[group:]
		}
	}
	return nil
}

func checkNamespaces(_ ref, d *api.PipelineDeclaration) error {
	used := map[string]bool{}
	for _, s := range d.Stages {
		for _, a := range s.Actions {
			for _, o := range a.OutputArtifacts {
				used[o.Name] = true
			}
		}
	}
	for _, s := range d.Stages {
		for _, a := range s.Actions {
			switch {
			case a.Namespace == "":
			case a.Namespace == "codepipeline" || a.Namespace == "variables":
				return invalidAction("Namespace %s in action %s is reserved", a.Namespace, a.Name)
			case used[a.Namespace]:
				return invalidAction("Namespace %s in action %s is not unique: a namespace must differ from every other namespace and artifact name in the pipeline", a.Namespace, a.Name)
			}
			if a.Namespace != "" {
				used[a.Namespace] = true
			}
		}
	}
	return nil
}

// checkReferences checks that variables refer to something that is known when
// the action starts.
func checkReferences(_ ref, d *api.PipelineDeclaration) error {
	known := map[string]bool{"codepipeline": true}
	if d.PipelineType == "V2" {
		known["variables"] = true
	}
	declared := map[string]bool{}
	for _, v := range d.Variables {
		declared[v.Name] = true
	}
	for _, s := range d.Stages {
		later := slices.Clone(s.Actions)
		slices.SortStableFunc(later, func(a, b api.ActionDeclaration) int { return int(runOrder(&a) - runOrder(&b)) })
		for i := range later {
			a := &later[i]
			for _, earlier := range later[:i] {
				if earlier.Namespace != "" && runOrder(&earlier) < runOrder(a) {
					known[earlier.Namespace] = true
				}
			}
			for _, value := range a.Configuration {
				if err := checkValue(a, value, known, declared); err != nil {
					return err
				}
			}
		}
		for _, a := range s.Actions {
			if a.Namespace != "" {
				known[a.Namespace] = true
			}
		}
	}
	return nil
}

func checkValue(a *api.ActionDeclaration, value string, known, declared map[string]bool) error {
	for r, text := range references(value) {
		if r.namespace == "" {
			return invalidAction("Valid format for a pipeline execution variable reference is a namespace and a key separated by a period (.). "+
				"The following pipeline execution variables are referencing incorrect format: [%s]", text)
		}
		switch {
		case !known[r.namespace]:
			return invalidAction("Action '%s' references the namespace '%s', which is not the namespace of a preceding action", a.Name, r.namespace)
		case r.namespace == "codepipeline" && r.key != executionIDKey:
			return invalidAction("Action '%s' references the unknown variable '%s' of namespace 'codepipeline'", a.Name, r.key)
		case r.namespace == "variables" && !declared[r.key]:
			return invalidAction("Action '%s' references the pipeline variable '%s', which is not declared", a.Name, r.key)
		}
	}
	return nil
}
