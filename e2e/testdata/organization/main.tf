# An organization with a unit, an account in it, and policies of both kinds.

terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}

provider "aws" {}

resource "aws_organizations_organization" "this" {
  feature_set          = "ALL"
  enabled_policy_types = ["SERVICE_CONTROL_POLICY", "RESOURCE_CONTROL_POLICY"]
}

resource "aws_organizations_organizational_unit" "workloads" {
  name      = "Workloads"
  parent_id = aws_organizations_organization.this.roots[0].id
  tags      = { Team = "delivery" }
}

resource "aws_organizations_organizational_unit" "production" {
  name      = "Production"
  parent_id = aws_organizations_organizational_unit.workloads.id
}

resource "aws_organizations_account" "shop" {
  name      = "shop production"
  email     = "shop@example.com"
  parent_id = aws_organizations_organizational_unit.production.id
  role_name = "Administrator"
  tags      = { Team = "shop" }

  # AWS tells the name of the role to nobody.
  lifecycle {
    ignore_changes = [role_name]
  }
}

data "aws_iam_policy_document" "regions" {
  statement {
    sid         = "OnlyHere"
    effect      = "Deny"
    not_actions = ["iam:*", "organizations:*", "sts:*"]
    resources   = ["*"]
    condition {
      test     = "StringNotEquals"
      variable = "aws:RequestedRegion"
      values   = ["eu-central-1"]
    }
  }
}

resource "aws_organizations_policy" "regions" {
  name        = "regions"
  description = "Only one region"
  content     = data.aws_iam_policy_document.regions.json
  tags        = { Team = "security" }
  depends_on  = [aws_organizations_organization.this]
}

resource "aws_organizations_policy" "perimeter" {
  name = "perimeter"
  type = "RESOURCE_CONTROL_POLICY"
  content = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Deny"
      Principal = "*"
      Action    = ["s3:*", "sts:*"]
      Resource  = "*"
      Condition = { StringNotEqualsIfExists = { "aws:PrincipalOrgID" = aws_organizations_organization.this.id } }
    }]
  })
}

resource "aws_organizations_policy_attachment" "unit" {
  policy_id = aws_organizations_policy.regions.id
  target_id = aws_organizations_organizational_unit.workloads.id
}

resource "aws_organizations_policy_attachment" "account" {
  policy_id = aws_organizations_policy.perimeter.id
  target_id = aws_organizations_account.shop.id
}

data "aws_organizations_organization" "this" {
  depends_on = [aws_organizations_account.shop]
}

output "accounts" {
  value = length(data.aws_organizations_organization.this.accounts)
}
