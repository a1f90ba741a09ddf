# One of each resource of KMS, for Terraform's AWS provider.

terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}

provider "aws" {}

provider "aws" {
  alias  = "there"
  region = "eu-west-1"
}

data "aws_caller_identity" "me" {}

resource "aws_kms_key" "plain" {
  description             = "rotates"
  enable_key_rotation     = true
  rotation_period_in_days = 180
  deletion_window_in_days = 7
  tags                    = { Team = "delivery" }
}

resource "aws_kms_key" "signer" {
  for_each                 = { ec = "ECC_NIST_P256", rsa = "RSA_2048" }
  customer_master_key_spec = each.value
  key_usage                = "SIGN_VERIFY"
  deletion_window_in_days  = 7
}

resource "aws_kms_key" "mac" {
  customer_master_key_spec = "HMAC_256"
  key_usage                = "GENERATE_VERIFY_MAC"
  is_enabled               = false
  deletion_window_in_days  = 7
}

resource "aws_kms_key" "agreement" {
  customer_master_key_spec = "ECC_NIST_P384"
  key_usage                = "KEY_AGREEMENT"
  deletion_window_in_days  = 7
}

resource "aws_kms_key" "everywhere" {
  description             = "here"
  multi_region            = true
  enable_key_rotation     = true
  deletion_window_in_days = 7
}

resource "aws_kms_replica_key" "there" {
  provider                = aws.there
  description             = "there"
  primary_key_arn         = aws_kms_key.everywhere.arn
  deletion_window_in_days = 7
  tags                    = { Where = "there" }
}

resource "aws_kms_external_key" "brought" {
  description             = "brought"
  key_material_base64     = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA="
  enabled                 = true
  deletion_window_in_days = 7
}

resource "aws_kms_external_key" "awaited" {
  deletion_window_in_days = 7
}

resource "aws_kms_external_key" "everywhere" {
  multi_region            = true
  key_material_base64     = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyE="
  enabled                 = true
  deletion_window_in_days = 7
}

resource "aws_kms_replica_external_key" "there" {
  provider                = aws.there
  primary_key_arn         = aws_kms_external_key.everywhere.arn
  key_material_base64     = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyE="
  enabled                 = true
  deletion_window_in_days = 7
}

resource "aws_kms_alias" "signer" {
  name          = "alias/tf-signer"
  target_key_id = aws_kms_key.signer["ec"].key_id
}

resource "aws_iam_role" "worker" {
  name = "tf-kms-worker"
  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Principal = { Service = "codepipeline.amazonaws.com" }, Action = "sts:AssumeRole" }]
  })
}

resource "aws_kms_grant" "signing" {
  key_id            = aws_kms_key.signer["ec"].key_id
  grantee_principal = aws_iam_role.worker.arn
  operations        = ["Sign", "GetPublicKey", "DescribeKey"]
}

resource "aws_kms_grant" "encryption" {
  key_id            = aws_kms_key.plain.key_id
  grantee_principal = aws_iam_role.worker.arn
  operations        = ["Encrypt", "GenerateDataKeyPair"]
  constraints {
    encryption_context_equals = { app = "one" }
  }
}

resource "aws_kms_key_policy" "plain" {
  key_id = aws_kms_key.agreement.id
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Principal = { AWS = "arn:aws:iam::${data.aws_caller_identity.me.account_id}:root" }, Action = "kms:*", Resource = "*" }]
  })
}

resource "aws_kms_ciphertext" "secret" {
  key_id    = aws_kms_key.plain.key_id
  plaintext = "secret"
}

data "aws_kms_public_key" "signer" {
  key_id = aws_kms_key.signer["rsa"].arn
}
