package kms

import "github.com/sekisho/sekisho/internal/call"

// Operations is the service's table of contents.
func (s *Service) Operations() []call.Operation {
	return []call.Operation{
		call.Op("CreateKey", s.createKeyNeeds, s.createKey),
		call.Op("DescribeKey", s.describeKeyNeeds, s.describeKey),
		call.Op("ListKeys", s.listKeysNeeds, s.listKeys),
		call.Op("UpdateKeyDescription", s.updateKeyDescriptionNeeds, s.updateKeyDescription),
		call.Op("EnableKey", s.enableKeyNeeds, s.enableKey),
		call.Op("DisableKey", s.disableKeyNeeds, s.disableKey),
		call.Op("ScheduleKeyDeletion", s.scheduleKeyDeletionNeeds, s.scheduleKeyDeletion),
		call.Op("CancelKeyDeletion", s.cancelKeyDeletionNeeds, s.cancelKeyDeletion),

		call.Op("ListKeyPolicies", s.listKeyPoliciesNeeds, s.listKeyPolicies),
		call.Op("GetKeyPolicy", s.getKeyPolicyNeeds, s.getKeyPolicy),
		call.Op("PutKeyPolicy", s.putKeyPolicyNeeds, s.putKeyPolicy),

		call.Op("CreateAlias", s.createAliasNeeds, s.createAlias),
		call.Op("UpdateAlias", s.updateAliasNeeds, s.updateAlias),
		call.Op("DeleteAlias", s.deleteAliasNeeds, s.deleteAlias),
		call.Op("ListAliases", s.listAliasesNeeds, s.listAliases),

		call.Op("Encrypt", s.encryptNeeds, s.encrypt),
		call.Op("Decrypt", s.decryptNeeds, s.decrypt),
		call.Op("ReEncrypt", s.reEncryptNeeds, s.reEncrypt),
		call.Op("GenerateDataKey", s.generateDataKeyNeeds, s.generateDataKey),
		call.Op("GenerateDataKeyWithoutPlaintext", s.generateDataKeyWithoutPlaintextNeeds, s.generateDataKeyWithoutPlaintext),
		call.Op("GenerateDataKeyPair", s.generateDataKeyPairNeeds, s.generateDataKeyPair),
		call.Op("GenerateDataKeyPairWithoutPlaintext", s.generateDataKeyPairWithoutPlaintextNeeds, s.generateDataKeyPairWithoutPlaintext),
		call.Op("GenerateRandom", s.generateRandomNeeds, s.generateRandom),

		call.Op("Sign", s.signNeeds, s.sign),
		call.Op("Verify", s.verifyNeeds, s.verify),
		call.Op("GetPublicKey", s.getPublicKeyNeeds, s.getPublicKey),
		call.Op("GenerateMac", s.generateMacNeeds, s.generateMac),
		call.Op("VerifyMac", s.verifyMacNeeds, s.verifyMac),
		call.Op("DeriveSharedSecret", s.deriveSharedSecretNeeds, s.deriveSharedSecret),

		call.Op("CreateGrant", s.createGrantNeeds, s.createGrant),
		call.Op("ListGrants", s.listGrantsNeeds, s.listGrants),
		call.Op("ListRetirableGrants", s.listRetirableGrantsNeeds, s.listRetirableGrants),
		call.Op("RevokeGrant", s.revokeGrantNeeds, s.revokeGrant),
		call.Op("RetireGrant", s.retireGrantNeeds, s.retireGrant),

		call.Op("TagResource", s.tagResourceNeeds, s.tagResource),
		call.Op("UntagResource", s.untagResourceNeeds, s.untagResource),
		call.Op("ListResourceTags", s.listResourceTagsNeeds, s.listResourceTags),

		call.Op("GetKeyRotationStatus", s.getKeyRotationStatusNeeds, s.getKeyRotationStatus),
		call.Op("EnableKeyRotation", s.enableKeyRotationNeeds, s.enableKeyRotation),
		call.Op("DisableKeyRotation", s.disableKeyRotationNeeds, s.disableKeyRotation),
		call.Op("RotateKeyOnDemand", s.rotateKeyOnDemandNeeds, s.rotateKeyOnDemand),
		call.Op("ListKeyRotations", s.listKeyRotationsNeeds, s.listKeyRotations),

		call.Op("GetParametersForImport", s.getParametersForImportNeeds, s.getParametersForImport),
		call.Op("ImportKeyMaterial", s.importKeyMaterialNeeds, s.importKeyMaterial),
		call.Op("DeleteImportedKeyMaterial", s.deleteImportedKeyMaterialNeeds, s.deleteImportedKeyMaterial),

		call.Op("ReplicateKey", s.replicateKeyNeeds, s.replicateKey),
		call.Op("UpdatePrimaryRegion", s.updatePrimaryRegionNeeds, s.updatePrimaryRegion),
	}
}
