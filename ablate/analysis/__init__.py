"""From records to answers: functions from DataFrame to DataFrame, no torch."""
