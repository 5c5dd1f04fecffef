"""What drawings and pages of all kinds share."""
